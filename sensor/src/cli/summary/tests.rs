//! Whole summaries, as they are printed.

use vigie_signatures::Class;

use super::*;
use crate::cli::findings::tests::{START_NS, alert, flow, rule};
use crate::event::Evidence;
use vigie_decode::Address;

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

fn findings() -> Findings {
    let mut findings = Findings::default();
    let phone = Address::v4([10, 1, 2, 3]);
    let laptop = Address::v4([10, 1, 2, 200]);
    let tiktok = |signal| rule("tiktok", "TikTok", signal);
    let mut flow_of = |client, start_s, class, evidence, name: &str| {
        findings.add_alert(&alert(flow(client, start_s), tiktok(class), evidence, name));
        findings.add_flow_end(&flow(client, start_s), &tiktok(class));
    };
    flow_of(laptop, 60, Class::Pixel, Evidence::TlsSni, "analytics.tiktok.com");
    flow_of(phone, 1, Class::Native, Evidence::TlsSni, "api.tiktokv.com");
    flow_of(phone, 2, Class::Native, Evidence::QuicSni, "log.tiktokv.com");
    flow_of(phone, 3, Class::Native, Evidence::QuicSni, "mon.tiktokv.com");
    flow_of(laptop, 90, Class::Media, Evidence::Dns, "p16.tiktokcdn.com");
    findings
}

#[test]
fn one_line_a_finding_where_there_is_room() {
    let expected = "\
office.pcapng
2026-11-21 22:05:05 to 22:09:11 UTC (4 min 6 s)
12,345 packets, 9.8 MB, 321 flows; hellos: 210 TLS, 80 QUIC, 2 DTLS; 1 DNS answer

SERVICE  CLIENT      VERDICT             EVIDENCE           NAMES                                FLOWS    SENT  RECEIVED  SEEN (UTC)
TikTok   10.1.2.3    app in use          tls-sni, quic-sni  api.tiktokv.com, log.tiktokv.com +1      3  4.5 kB    6.0 MB  22:05:06–22:05:08
TikTok   10.1.2.200  undetermined        dns                p16.tiktokcdn.com                        1  1.5 kB    2.0 MB  22:06:35–22:06:35
TikTok   10.1.2.200  embedded in a page  tls-sni            analytics.tiktok.com                     1  1.5 kB    2.0 MB  22:06:05–22:06:05

5 alerts: 1 service on 2 clients
";
    assert_eq!(summary(&inspected(), &findings(), Style { width: 140, ..PLAIN }), expected);
}

#[test]
fn one_name_less_where_that_makes_room() {
    let text = summary(&inspected(), &findings(), Style { width: 130, ..PLAIN });
    let line = "TikTok   10.1.2.3    app in use          tls-sni, quic-sni  api.tiktokv.com +2";
    assert!(text.contains(line), "{text}");
    assert!(text.lines().all(|line| console::measure_text_width(line) <= 130), "{text}");
}

#[test]
fn two_lines_a_finding_where_there_is_not() {
    let expected = "\
office.pcapng
2026-11-21 22:05:05 to 22:09:11 UTC (4 min 6 s)
12,345 packets, 9.8 MB, 321 flows; hellos: 210 TLS, 80 QUIC, 2 DTLS; 1 DNS answer

SERVICE  CLIENT      VERDICT             FLOWS    SENT  RECEIVED  SEEN (UTC)
TikTok   10.1.2.3    app in use              3  4.5 kB    6.0 MB  22:05:06–22:05:08
    tls-sni, quic-sni: api.tiktokv.com, log.tiktokv.com +1
TikTok   10.1.2.200  undetermined            1  1.5 kB    2.0 MB  22:06:35–22:06:35
    dns: p16.tiktokcdn.com
TikTok   10.1.2.200  embedded in a page      1  1.5 kB    2.0 MB  22:06:05–22:06:05
    tls-sni: analytics.tiktok.com

5 alerts: 1 service on 2 clients
";
    assert_eq!(summary(&inspected(), &findings(), Style { width: 80, ..PLAIN }), expected);
}

#[test]
fn the_widest_addresses_still_fit() {
    let mut findings = Findings::default();
    let client = Address(0xffff_ffff_ffff_ffff_ffff_ffff_ffff_fffe);
    let rule = rule("douyin", "Douyin (抖音)", Class::Pixel);
    findings.add_alert(&alert(flow(client, 1), rule, Evidence::TlsCertificate, "a.example.com"));
    let text = summary(&inspected(), &findings, PLAIN);
    assert!(text.contains("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"), "{text}");
    assert!(text.lines().all(|line| console::measure_text_width(line) <= 120), "{text}");
}

#[test]
fn days_are_told_where_there_are_many() {
    let mut inspected = inspected();
    inspected.files = vec!["a.pcap".to_owned(), "b.pcap".to_owned(), "c.pcap".to_owned()];
    inspected.last_seen_ns += 90_000_000_000_000;
    let text = summary(&inspected, &findings(), PLAIN);
    assert!(text.starts_with("a.pcap … c.pcap (3 files)\n2026-11-21 22:05:05 to 2026-11-22 23:09:11 UTC (1 d 1 h)\n"));
    assert!(text.contains("  2026-11-21 22:05:06–2026-11-21 22:05:08\n"), "{text}");
}

#[test]
fn nothing_found_says_how_much_was_inspected() {
    let text = summary(&inspected(), &Findings::default(), PLAIN);
    assert!(text.contains("12,345 packets") && text.contains("No known service was recognised."), "{text}");
    assert!(text.ends_with("All hellos and DNS answers counted above were checked.\n"), "{text}");
    let blind = Inspected { tls_hellos: 0, quic_hellos: 0, dtls_hellos: 0, dns_answers: 0, ..inspected() };
    assert!(summary(&blind, &Findings::default(), PLAIN).contains("nothing could be recognised"));
    let empty =
        summary(&Inspected { files: vec!["-".to_owned()], ..Inspected::default() }, &Findings::default(), PLAIN);
    assert!(empty.starts_with("-\nno packet\n0 packets") && empty.contains("has no packet"), "{empty}");
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
    let text = summary(&inspected, &Findings::default(), PLAIN);
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
    let coloured = summary(&inspected(), &findings(), Style { colour: true, ..PLAIN });
    assert!(coloured.contains("\x1b[1;31mapp in use\x1b[0m"), "{coloured}");
    let bare = coloured
        .split('\x1b')
        .map(|part| part.split_once('m').filter(|_| part.starts_with('[')).map_or(part, |(_, rest)| rest));
    assert_eq!(bare.collect::<String>(), summary(&inspected(), &findings(), PLAIN));
}
