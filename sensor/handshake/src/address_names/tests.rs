use super::*;

const SECOND: u64 = NANOSECONDS;

fn address(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

fn client(last: u8) -> Option<Address> {
    Some(Address::v4([10, 0, 0, last]))
}

fn name(names: &AddressNames, who: Option<Address>, server: u8, now_ns: u64) -> Option<String> {
    names.lookup(who, address(server).into(), now_ns).map(|name| name.to_string())
}

fn insert(names: &AddressNames, who: Option<Address>, server: IpAddr, name: &str, ttl_s: u32, now_ns: u64) -> bool {
    names.insert(who, server, name, ttl_s, Query::Seen, now_ns)
}

#[test]
fn a_name_is_its_clients_own() {
    let names = AddressNames::new(Limits::default());
    assert!(insert(&names, client(1), address(7), "www.tiktok.com", 20, 0));
    assert_eq!(name(&names, client(1), 7, 1).as_deref(), Some("www.tiktok.com"));
    assert_eq!(name(&names, client(2), 7, 1), None);
    assert_eq!(name(&names, client(1), 8, 1), None);
    assert!(insert(&names, client(1), address(7), "www.example.com", 20, 1));
    assert_eq!(name(&names, client(1), 7, 2).as_deref(), Some("www.example.com"), "the latest counts");
    assert_eq!(names.len(), 1);
}

#[test]
fn answers_without_a_client_serve_those_who_have_none_of_their_own() {
    let names = AddressNames::new(Limits::default());
    insert(&names, None, address(7), "for.all", 20, 0);
    insert(&names, client(1), address(7), "for.one", 20, 0);
    assert_eq!(name(&names, client(1), 7, 1).as_deref(), Some("for.one"));
    assert_eq!(name(&names, client(2), 7, 1).as_deref(), Some("for.all"));
    assert_eq!(name(&names, None, 7, 1).as_deref(), Some("for.all"));
}

#[test]
fn names_live_between_the_limits() {
    let limits = Limits { ttl_min_s: 300, ttl_max_s: 3600, ..Limits::default() };
    let names = AddressNames::new(limits);
    insert(&names, client(1), address(1), "short", 0, 5 * SECOND);
    insert(&names, client(1), address(2), "long", u32::MAX, 5 * SECOND);
    assert!(name(&names, client(1), 1, 305 * SECOND - 1).is_some());
    assert!(name(&names, client(1), 1, 305 * SECOND).is_none());
    assert!(name(&names, client(1), 2, 3605 * SECOND - 1).is_some());
    assert!(name(&names, client(1), 2, 3605 * SECOND).is_none());
    insert(&names, client(1), address(1), "late", u32::MAX, u64::MAX - SECOND);
    assert_eq!(name(&names, client(1), 1, u64::MAX - 1).as_deref(), Some("late"));
}

#[test]
fn an_expired_entry_makes_room_first() {
    let names = AddressNames::new(Limits { entries_max: 1, ..Limits::default() });
    for server in 1..=BUCKET_ENTRIES as u8 {
        assert!(insert(&names, client(1), address(server), "a", 300, u64::from(server)));
    }
    assert!(insert(&names, client(1), address(5), "renewed", 300, 300 * SECOND), "known ones are still renewed");
    assert!(insert(&names, client(1), address(100), "b", 300, 300 * SECOND + 1), "the first has expired");
    assert_eq!((names.len(), names.displaced(), names.refused()), (BUCKET_ENTRIES, 0, 0));
    assert_eq!(name(&names, client(1), 1, 300 * SECOND), None);
    assert_eq!(name(&names, client(1), 2, 300 * SECOND).as_deref(), Some("a"));
    assert_eq!(name(&names, client(1), 100, 301 * SECOND).as_deref(), Some("b"));
}

#[test]
fn what_is_old_and_unused_makes_room() {
    let names = AddressNames::new(Limits { entries_max: 1, ..Limits::default() });
    for server in 1..=BUCKET_ENTRIES as u8 {
        assert!(insert(&names, client(server), address(server), "a", 86_400, u64::from(server) * SECOND));
    }
    assert!(name(&names, client(1), 1, 40 * SECOND).is_some());
    for server in 100..110 {
        assert!(insert(&names, client(server), address(server), "b", 86_400, 50 * SECOND));
    }
    assert_eq!(names.displaced(), 10);
    assert!(name(&names, client(1), 1, 60 * SECOND).is_some(), "it was used");
    for server in 2..=11 {
        assert_eq!(name(&names, client(server), server, 60 * SECOND), None, "{server} is the oldest");
    }
    assert!(name(&names, client(12), 12, 60 * SECOND).is_some());
}

#[test]
fn forged_answers_displace_neither_what_was_asked_for_nor_other_clients() {
    let limits = Limits { entries_max: 4_096, ..Limits::default() };
    for (forged_to, query) in [(1, Query::Unseen), (1, Query::Seen), (250, Query::Unseen)] {
        let names = AddressNames::new(limits);
        for server in 0..100 {
            assert!(insert(&names, client(100 + server), address(server), "www.tiktok.com", 60, SECOND));
        }
        for number in 0..100_000_u32 {
            let forged = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
            let to = client((number % forged_to) as u8);
            names.insert(to, forged, "forged", 86_400, query, 2 * SECOND);
        }
        let kept = (0..100).filter(|&server| name(&names, client(100 + server), server, 3 * SECOND).is_some()).count();
        assert!(kept >= 99, "{kept} of 100 after answers to {forged_to}, {query:?}");
        assert!(names.displaced() + names.refused() > 90_000);
        // The flood is over: new names find room at once.
        for server in 0..100 {
            assert!(insert(&names, client(7), address(server), "www.tiktok.com", 60, 4 * SECOND));
        }
    }
}

#[test]
fn a_lookup_is_for_its_time() {
    let names = AddressNames::new(Limits::default());
    insert(&names, client(1), address(7), "first", 60, 10 * SECOND);
    insert(&names, client(1), address(7), "second", 60, 20 * SECOND);
    let at = |second: u64| name(&names, client(1), 7, second * SECOND);
    assert_eq!(at(9), None, "no answer yet");
    assert_eq!(at(10).as_deref(), Some("first"));
    assert_eq!(at(19).as_deref(), Some("first"));
    assert_eq!(at(20).as_deref(), Some("second"));
    // Another worker stores an earlier answer later.
    insert(&names, client(1), address(7), "between", 60, 15 * SECOND);
    assert_eq!(at(15).as_deref(), Some("between"));
    assert_eq!(at(20).as_deref(), Some("second"));
    insert(&names, client(1), address(8), "b", 60, 20 * SECOND);
    insert(&names, client(1), address(8), "b", 60, 10 * SECOND);
    assert_eq!(name(&names, client(1), 8, 12 * SECOND).as_deref(), Some("b"));
}

#[test]
fn names_keep_their_age_when_the_clock_is_set() {
    let names = AddressNames::new(Limits::default());
    const HOUR: u64 = 3_600 * SECOND;
    insert(&names, client(1), address(7), "first", 60, 5 * HOUR);
    insert(&names, client(1), address(7), "second", 60, 5 * HOUR + 10 * SECOND);
    names.clock_was_set(-(HOUR as i64));
    let at = |second: u64| name(&names, client(1), 7, 4 * HOUR + second * SECOND);
    assert_eq!(
        (at(5).as_deref(), at(11).as_deref(), at(309).as_deref()),
        (Some("first"), Some("second"), Some("second"))
    );
    assert_eq!(at(310), None);
}

#[test]
fn what_filters_answer_names_nobody() {
    let names = AddressNames::new(Limits::default());
    for blocked in ["0.0.0.0", "127.0.0.1", "::", "::1"] {
        assert!(!insert(&names, client(1), blocked.parse().unwrap(), "tiktok.com", 60, 0));
    }
    assert!(names.is_empty() && names.refused() == 0);
}

#[test]
fn addresses_of_an_answer_share_their_name() {
    let names = AddressNames::new(Limits::default());
    let answer = b"\x1a\x2b\x81\x80\0\x01\0\x02\0\0\0\0\x06TikTok\x03com\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x02";
    names.insert_answer(client(1), Query::Seen, &dns::Message::parse(answer).unwrap(), 0);
    let first = names.lookup(client(1), address(1).into(), 1).unwrap();
    let second = names.lookup(client(1), address(2).into(), 1).unwrap();
    assert_eq!(&*first, "tiktok.com");
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn many_entries_spread_over_the_buckets() {
    let names = AddressNames::new(Limits { entries_max: 32_768, ..Limits::default() });
    for server in 0..16_384_u32 {
        insert(&names, client(1), IpAddr::from((0x0b00_0000 + server).to_be_bytes()), "a", 60, 0);
    }
    assert!(names.displaced() < 40, "half full, {} displaced", names.displaced());
    assert_eq!(names.len() as u64 + names.displaced(), 16_384);
}
