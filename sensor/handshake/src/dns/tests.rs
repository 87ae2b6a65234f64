//! Messages as resolvers send them.

use proptest::prelude::*;

use super::*;

/// The start of a message: id 0x1a2b, flags, counts of questions and answers, one question.
fn message(flags: u16, answers: u16, name: &[u8], record_type: u16) -> Vec<u8> {
    let mut bytes = vec![0x1a, 0x2b];
    for number in [flags, 1, answers, 0, 0] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&record_type.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes
}

fn record(bytes: &mut Vec<u8>, owner: u16, record_type: u16, ttl_s: u32, data: &[u8]) {
    bytes.extend_from_slice(&(0xc000 | owner).to_be_bytes());
    bytes.extend_from_slice(&record_type.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes.extend_from_slice(&ttl_s.to_be_bytes());
    bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
    bytes.extend_from_slice(data);
}

/// www.tiktok.com → www.tiktok.com.edgesuite.net → a2047.api10.akamai.net → two addresses, the question's case mixed
/// as resolvers do against spoofing.
fn akamai_answer() -> Vec<u8> {
    let mut bytes = message(0x8180, 4, b"\x03wWw\x06TikTOK\x03com\0", record_type::A);
    record(&mut bytes, 12, record_type::CNAME, 3600, b"\x03www\x06tiktok\x03com\x09edgesuite\x03net\0");
    let first_target = 12 + 16 + 4 + 12;
    record(&mut bytes, first_target, record_type::CNAME, 21600, b"\x05a2047\x05api10\x06akamai\xc0\x45");
    let second_target = first_target + 30 + 12;
    record(&mut bytes, second_target, record_type::A, 20, &[23, 45, 108, 250]);
    record(&mut bytes, second_target, record_type::A, 20, &[23, 45, 109, 1]);
    bytes
}

fn addresses(bytes: &[u8]) -> Vec<(String, String, u32)> {
    let mut found = Vec::new();
    Message::parse(bytes)
        .unwrap()
        .addresses(|name, address, ttl_s| found.push((name.to_owned(), address.to_string(), ttl_s)));
    found
}

fn chain(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    Message::parse(bytes).unwrap().chain(|name| found.push(name.to_owned()));
    found
}

#[test]
fn every_address_of_a_chain_belongs_to_the_question() {
    let bytes = akamai_answer();
    assert!(looks_like_dns(&bytes));
    let entry = |address: &str| ("www.tiktok.com".to_owned(), address.to_owned(), 20);
    assert_eq!(addresses(&bytes), [entry("23.45.108.250"), entry("23.45.109.1")]);
    assert_eq!(chain(&bytes), ["www.tiktok.com.edgesuite.net", "a2047.api10.akamai.net"]);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.id(), message.response_code(), message.is_truncated()), (0x1a2b, 0, false));
    let answer = message.to_answer().unwrap();
    assert_eq!((answer.question.as_str(), answer.question_type, answer.answers.len()), ("www.tiktok.com", 1, 4));
    assert_eq!(answer.answers[1].name, "www.tiktok.com.edgesuite.net");
    assert_eq!(answer.answers[1].data, "a2047.api10.akamai.net");
    assert_eq!(answer.answers[3].data, "23.45.109.1");
}

#[test]
fn a_cut_answer_gives_what_is_whole() {
    let bytes = akamai_answer();
    let cut = &bytes[..bytes.len() - 1];
    assert!(looks_like_dns(cut));
    assert_eq!(addresses(cut).len(), 1);
    for end in 0..bytes.len() {
        if let Some(message) = Message::parse(&bytes[..end]) {
            message.addresses(|_, _, _| {});
        }
    }
}

#[test]
fn hints_of_https_records_are_addresses_of_the_host() {
    let mut bytes = message(0x8180, 1, b"\x05_8443\x06_https\x06tiktok\x03com\0", record_type::HTTPS);
    let data = b"\0\x01\x03cdn\x07example\0\0\x01\0\x03\x02h3\0\x04\0\x04\x0a\0\0\x01\0\x05\0\x02\xfe\x0d\
        \0\x06\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
    record(&mut bytes, 12, record_type::HTTPS, 60, data);
    let entry = |address: &str| ("tiktok.com".to_owned(), address.to_owned(), 60);
    assert_eq!(addresses(&bytes), [entry("10.0.0.1"), entry("2001:db8::1")]);
    assert_eq!(chain(&bytes), ["cdn.example"]);
}

#[test]
fn queries_transfers_and_the_root_name_no_address() {
    let with = |flags, name: &[u8], record_type| {
        let mut bytes = message(flags, 1, name, record_type);
        record(&mut bytes, 12, record_type::A, 60, &[1, 2, 3, 4]);
        addresses(&bytes).len()
    };
    assert_eq!(with(0x8180, b"\x01a\0", record_type::A), 1);
    assert_eq!(with(0x0100, b"\x01a\0", record_type::A), 0, "query");
    assert_eq!(with(0x8180, b"\x01a\0", record_type::AXFR), 0);
    assert_eq!(with(0x8180, b"\0", record_type::A), 0);
    assert_eq!(with(0x8180, b"\x04_dns\0", record_type::SVCB), 0);
}

#[test]
fn an_answer_is_bounded() {
    let mut bytes = message(0x8180, 300, b"\x01a\0", record_type::A);
    (0..300_u16).for_each(|at| record(&mut bytes, 12, record_type::A, 60, &[10, 0, (at >> 8) as u8, at as u8]));
    assert_eq!(addresses(&bytes).len(), ANSWERS_MAX);
    let hints = [&b"\0\x01\0\0\x04\x10\0"[..], &[7; 4096]].concat();
    let mut bytes = message(0x8180, 1, b"\x01a\0", record_type::HTTPS);
    record(&mut bytes, 12, record_type::HTTPS, 60, &hints);
    assert_eq!(addresses(&bytes).len(), ADDRESSES_MAX);
}

#[test]
fn an_answer_is_cut_behind_a_whole_record() {
    let mut answer = Message::parse(&akamai_answer()).unwrap().to_answer().unwrap();
    assert!(!answer.is_cut && answer.answers.len() == 4);
    let bytes = |record: &DnsRecord| 64 + record.name.len() + record.data.len();
    let two: usize = answer.answers.iter().take(2).map(bytes).sum();
    answer.cut(answer.answers.iter().map(bytes).sum());
    assert!(!answer.is_cut && answer.answers.len() == 4);
    answer.cut(two);
    assert!(answer.is_cut && answer.answers.len() == 2);
    answer.cut(two - 1);
    assert_eq!(answer.answers.len(), 1);
}

#[test]
fn knows_dns_on_other_ports() {
    let bytes = akamai_answer();
    assert!(is_datagram_on_other_ports((1_253, 33_333), &bytes));
    assert!(is_datagram_on_other_ports((5_353, 33_333), &bytes));
    assert!(!is_datagram_on_other_ports((5_353, 5_353), &bytes), "multicast DNS");
    assert!(!is_datagram_on_other_ports((33_333, 137), &bytes) && !is_datagram_on_other_ports((5_355, 9), &bytes));
    let stream = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
    let is_dns = |stream: &[u8]| is_segment_on_other_ports((1_253, 33_333), stream);
    assert!(is_dns(&stream) && is_dns(&stream[..60]), "whole, and its first part");
    assert!(is_dns(&[&stream[..], &[0, 9]].concat()), "and more");
    assert!(!is_dns(&bytes) && !is_dns(&stream[..8]) && !is_dns(b""));
    let is_message = |payload: &[u8]| is_message_on_other_ports((1_253, 33_333), payload);
    assert!(is_message(&bytes) && !is_message(&stream) && !is_message(&bytes[..8]) && !is_message(b""));
    assert!(!is_dns(&[&[0, 12][..], &bytes].concat()), "a shorter message");
}

#[test]
fn knows_dns_from_what_is_none() {
    let query = message(0x0100, 0, b"\x03www\x06tiktok\x03com\0", record_type::A);
    assert!(looks_like_dns(&query));
    let changed = |at: usize, to: u8| {
        let mut bytes = query.clone();
        bytes[at] = to;
        looks_like_dns(&bytes)
    };
    assert!(changed(0, 0xff), "any id");
    assert!(!changed(2, 0x29), "opcode 5, update");
    assert!(!changed(3, 0x40), "reserved bit");
    assert!(!changed(5, 2), "two questions");
    assert!(!changed(7, 1), "a query with an answer");
    assert!(!changed(12, 0x80), "label kind");
    assert!(!changed(query.len() - 1, 7), "class");
    assert!(!looks_like_dns(&query[..query.len() - 1]));
    assert!(!looks_like_dns(b"\xc3\0\0\0\x01\x08\x83\x94\xc8\xf0\x3e\x51\x57\x08\0\0\x44\x9e\0\0"), "QUIC");
    assert!(Message::parse(&message(0xa980, 0, b"\0", 1)).is_none(), "opcode 5");
    assert_eq!(
        Message::parse(&message(0x8383, 0, b"\x01a\0", 1)).map(|m| (m.response_code(), m.is_truncated())),
        Some((3, true))
    );
}

#[test]
fn tcp_messages_come_framed() {
    let first = akamai_answer();
    let stream = [&(first.len() as u16).to_be_bytes()[..], &first, &[0, 0, 0, 9, 1, 2]].concat();
    let (messages, consumed) = tcp_messages(&stream);
    assert_eq!(messages.collect::<Vec<_>>(), [&first[..], &[]]);
    assert_eq!(consumed, first.len() + 4);
    assert_eq!(tcp_messages(&[1]).1, 0);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), as_response: bool) {
        if as_response && bytes.len() > 12 {
            bytes[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 200]);
        }
        let _ = looks_like_dns(&bytes);
        if let Some(message) = Message::parse(&bytes) {
            let mut count = 0;
            message.addresses(|_, _, _| count += 1);
            message.chain(|_| count += 1);
            prop_assert!(count <= ADDRESSES_MAX + ANSWERS_MAX);
            let _ = message.to_answer();
        }
        prop_assert!(tcp_messages(&bytes).1 <= bytes.len());
    }

    /// Damage to one byte of a good answer must not give a name that nobody asked for.
    #[test]
    fn a_flipped_byte_is_survived(at: prop::sample::Index, to: u8) {
        let mut bytes = akamai_answer();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Some(message) = Message::parse(&bytes) {
            message.addresses(|name, _, _| assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX));
            message.chain(|name| assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX));
        }
    }
}
