//! Whole summaries, as they are printed.

use super::*;

const START_NS: u64 = 1_795_298_705_123_456_789;

const PLAIN: Style = Style { width: 120, colour: false };

fn inspected() -> Inspected {
    Inspected {
        files: vec!["office.pcapng".to_owned()],
        frames: 12_345,
        bytes: 9_876_543,
        flows: 321,
        first_seen_ns: START_NS,
        last_seen_ns: START_NS + 246_000_000_000,
        tls_hellos: 210,
        quic_hellos: 80,
        dtls_hellos: 2,
        dns_answers: 1,
        ..Inspected::default()
    }
}

const STORY: &str = "The story.\n";

#[test]
fn the_story_stands_between_what_was_read_and_what_could_not_be() {
    let expected = "\
office.pcapng
2026-11-21 22:05:05 to 22:09:11 UTC (4 min 6 s)
12,345 packets, 9.8 MB, 321 flows; hellos: 210 TLS, 80 QUIC, 2 DTLS; 1 DNS answer

The story.
";
    assert_eq!(summary(&inspected(), STORY, PLAIN), expected);
}

#[test]
fn days_are_told_where_there_are_many() {
    let mut inspected = inspected();
    inspected.files = vec!["a.pcap".to_owned(), "b.pcap".to_owned(), "c.pcap".to_owned()];
    inspected.last_seen_ns += 90_000_000_000_000;
    let text = summary(&inspected, STORY, PLAIN);
    assert!(text.starts_with("a.pcap … c.pcap (3 files)\n2026-11-21 22:05:05 to 2026-11-22 23:09:11 UTC (1 d 1 h)\n"));
}

#[test]
fn a_capture_without_a_name_says_that_nothing_could_be_recognised() {
    assert!(!summary(&inspected(), STORY, PLAIN).contains("could be recognised"));
    let blind = Inspected { tls_hellos: 0, quic_hellos: 0, dtls_hellos: 0, dns_answers: 0, ..inspected() };
    assert!(summary(&blind, STORY, PLAIN).contains("hardly anything could be recognised"));
    let in_clear = Inspected { hosts_in_clear: 1, ..blind };
    assert!(!summary(&in_clear, STORY, PLAIN).contains("could be recognised"));
    let empty = summary(&Inspected { files: vec!["-".to_owned()], ..Inspected::default() }, STORY, PLAIN);
    assert!(empty.starts_with("-\nno packet\n0 packets"), "{empty}");
}

#[test]
fn what_could_not_be_read_is_told() {
    let mut inspected = inspected();
    inspected.unread = vec![
        ("decode".to_owned(), "truncated".to_owned(), 1234),
        ("decode".to_owned(), "bad_length".to_owned(), 0),
        ("hello".to_owned(), "hello_bytes_max".to_owned(), 2),
    ];
    inspected.warnings = (0..12).map(|number| format!("office.pcapng: at byte {number}: odd")).collect();
    inspected.warnings_left_out = 5;
    let text = summary(&inspected, STORY, PLAIN);
    let expected = "
What could not be read, and why
TIMES  WHERE   WHY
1,234  decode  truncated
    2  hello   hello bytes max

Warnings
office.pcapng: at byte 0: odd
";
    assert!(text.contains(expected), "{text}");
    assert!(text.ends_with("office.pcapng: at byte 9: odd\nand 7 more warnings\n"), "{text}");
    assert!(!text.contains("bad length"), "{text}");
}

#[test]
fn colours_change_nothing_else() {
    let mut inspected = inspected();
    inspected.warnings = vec!["odd".to_owned()];
    let coloured = summary(&inspected, STORY, Style { colour: true, ..PLAIN });
    assert!(coloured.contains("\x1b[1mWarnings\x1b[0m"), "{coloured}");
    let bare = coloured
        .split('\x1b')
        .map(|part| part.split_once('m').filter(|_| part.starts_with('[')).map_or(part, |(_, rest)| rest));
    assert_eq!(bare.collect::<String>(), summary(&inspected, STORY, PLAIN));
}
