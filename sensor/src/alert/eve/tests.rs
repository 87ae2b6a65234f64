//! One golden line of each event type. That they are valid against Suricata's schema is tested from outside.

use super::*;
use crate::alert::{DnsAnswer, DnsRecord, Order};
use vigie_decode::{Address, Encapsulation, Tunnel};
use vigie_handshake::tls::build::old_chrome;
use vigie_handshake::tls::{ClientHello, Ja4Transport};
use vigie_signatures::{Confidence, Role};

const START_NS: u64 = 1_795_298_705_123_456_789;

fn flow() -> Flow {
    Flow {
        id: 1_234_567_890_123_456_789,
        client: Address::v4([10, 1, 2, 3]),
        client_port: 50123,
        server: Address::v4([8, 8, 8, 8]),
        server_port: 443,
        protocol: TCP,
        encapsulation: Encapsulation::default(),
        interface: 0,
        first_seen_ns: START_NS,
        last_seen_ns: START_NS + 2_500_000_000,
        packets_to_server: 3,
        packets_to_client: 2,
        bytes_to_server: 900,
        bytes_to_client: 4096,
    }
}

fn rule() -> Rule {
    Rule {
        signature_id: 8_100_001,
        service: "tiktok".to_owned(),
        service_name: "TikTok".to_owned(),
        role: Role::AppApi,
        signal: Signal::AppOnly,
        confidence: Confidence::High,
        kind: MatchKind::Suffix,
        text: "tiktokv.com".to_owned(),
        asn: None,
        sources: vec!["v2fly".to_owned(), "ndpi".to_owned()],
        reviewed: "2026-11-01".to_owned(),
        file: "services/tiktok.toml".to_owned(),
        line: 12,
    }
}

fn ja4() -> Ja4Raw {
    let body = old_chrome().body();
    Ja4Raw::of(&ClientHello::parse(&body, body.len()).unwrap(), Ja4Transport::Tcp).unwrap()
}

fn hello(transport: HelloTransport) -> Hello {
    Hello {
        transport,
        server_name: Some("api16-normal.tiktokv.com".to_owned()),
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        version: 0x0304,
        ja4: Some(ja4()),
        ech: None,
        partial: false,
        user_agent: None,
    }
}

fn line(fact: Fact, context: &Context) -> String {
    let event = Event { timestamp_ns: START_NS, frame_number: 4, order: Order::default(), fact };
    let mut out = b"before\n".to_vec();
    encode(&event, context, &mut out);
    let text = String::from_utf8(out).unwrap();
    let line = text.strip_prefix("before\n").unwrap().strip_suffix('\n').unwrap().to_owned();
    assert!(!line.contains('\n'));
    serde_json::from_str::<serde_json::Value>(&line).unwrap();
    line
}

const HEAD: &str = r#"{"timestamp":"2026-11-21T22:05:05.123456+0000","flow_id":1234567890123456789,"pcap_cnt":4,"#;
const TUPLE: &str = r#""src_ip":"10.1.2.3","src_port":50123,"dest_ip":"8.8.8.8","dest_port":443,"#;

fn id(protocol: u8) -> String {
    let id = community_id(protocol, ("10.1.2.3".parse().unwrap(), 50123), ("8.8.8.8".parse().unwrap(), 443));
    String::from_utf8(id.to_vec()).unwrap()
}

#[test]
fn an_alert_says_all_that_is_known() {
    let mut flow = flow();
    flow.encapsulation.vlans = [100, 7, 0];
    flow.encapsulation.vlan_count = 2;
    flow.encapsulation.tunnel_depth = 1;
    flow.encapsulation.tunnel = Some(Tunnel {
        kind: TunnelKind::Vxlan,
        source: Some(Address::v4([192, 0, 2, 1])),
        destination: Some(Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])),
    });
    let mut hello = hello(HelloTransport::Tcp);
    hello.ech = Some(Ech::Grease);
    hello.partial = true;
    let alert = Alert {
        flow,
        evidence: Evidence::TlsSni,
        name: Some("api16-normal.tiktokv.com".to_owned()),
        rule: Arc::new(Rule { asn: Some(396_986), ..rule() }),
        hello: Some(hello),
    };
    let context =
        Context { sensor_name: Some("tap-\"1\"".to_owned()), interfaces: vec!["eth0".to_owned()], bundle: None };
    let expected = [
        HEAD,
        r#""in_iface":"eth0","event_type":"alert","vlan":[100,7],"#,
        TUPLE,
        r#""proto":"TCP","ip_v":4,"pkt_src":"wire/pcap","community_id":""#,
        &id(TCP),
        r#"","host":"tap-\"1\"","tunnel":{"src_ip":"192.0.2.1","dest_ip":"2001:db8::2","proto":"UDP","depth":1},"#,
        r#""direction":"to_server","app_proto":"tls","alert":{"action":"allowed","gid":1,"signature_id":8100001,"rev":1,"#,
        r#""signature":"vigie TikTok: app in use","category":"Potential Corporate Privacy Violation","severity":"#,
        &rule().severity().to_string(),
        r#","metadata":{"service":["tiktok"],"service_name":["TikTok"],"role":["app-api"],"signal":["app-only"],"#,
        r#""verdict":["app"],"evidence":["tls-sni"],"confidence":["high"],"name":["api16-normal.tiktokv.com"],"#,
        r#""match":["suffix"],"rule":["tiktokv.com"],"sources":["v2fly","ndpi"],"reviewed":["2026-11-01"],"#,
        r#""server_asn":["396986"],"server_country":["US"],"tunnel":["vxlan"],"ech":["grease"],"hello":["partial"]}},"#,
        r#""tls":{"sni":"api16-normal.tiktokv.com","version":"TLS 1.3","ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1","#,
        r#""client_alpns":["h2","http/1.1"]},"flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":900,"#,
        r#""bytes_toclient":4096,"start":"2026-11-21T22:05:05.123456+0000","end":"2026-11-21T22:05:07.623456+0000"}}"#,
    ];
    assert_eq!(line(Fact::Alert(Box::new(alert)), &context), expected.concat());
}

#[test]
fn an_alert_without_hello_or_name() {
    let alert = Alert { flow: flow(), evidence: Evidence::Prefix, name: None, rule: Arc::new(rule()), hello: None };
    let line = line(Fact::Alert(Box::new(alert)), &Context::default());
    assert!(line.contains(r#""app_proto":"failed","alert":{"#), "{line}");
    assert!(line.contains(r#""confidence":["high"],"match":["suffix"]"#), "{line}");
    assert!(line.contains(r#""server_country":["US"]}},"flow":{"#), "{line}");
}

#[test]
fn a_tls_hello() {
    let event = Fact::Hello(Box::new(flow()), Box::new(hello(HelloTransport::Tcp)));
    let expected = [
        HEAD,
        r#""event_type":"tls","#,
        TUPLE,
        r#""proto":"TCP","ip_v":4,"pkt_src":"wire/pcap","community_id":""#,
        &id(TCP),
        r#"","direction":"to_server","app_proto":"tls","tls":{"sni":"api16-normal.tiktokv.com","version":"TLS 1.3","#,
        r#""ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1","client_alpns":["h2","http/1.1"]}}"#,
    ];
    assert_eq!(line(event, &Context::default()), expected.concat());
}

#[test]
fn a_dtls_hello_is_tls_over_udp() {
    let hello = Hello { server_name: None, ja4: None, alpn: vec![], version: 0xfefd, ..hello(HelloTransport::Dtls) };
    let flow = Flow { protocol: UDP, ..flow() };
    let line = line(Fact::Hello(Box::new(flow), Box::new(hello)), &Context::default());
    assert!(line.contains(r#""event_type":"tls""#) && line.contains(r#""proto":"UDP""#), "{line}");
    assert!(line.ends_with(r#""app_proto":"tls","tls":{"version":"DTLS 1.2"}}"#), "{line}");
}

#[test]
fn quic_hellos_of_all_families() {
    let flow = Flow {
        protocol: UDP,
        client: Address(0x2001_0db8 << 96 | 1),
        server: Address(0x2001_0db8 << 96 | 2),
        ..flow()
    };
    for (version, name) in [
        (1, "1"),
        (0x6b33_43cf, "6b3343cf"),
        (0xff00_001d, "ff00001d"),
        (0x5130_3433, "Q043"),
        (0x5430_3531, "T051"),
        (0x5151_5151, "51515151"),
    ] {
        let hello = Hello {
            alpn: vec!["h3".to_owned()],
            user_agent: Some("Chrome/\u{1}".to_owned()),
            ..hello(HelloTransport::Quic(version))
        };
        let line = line(Fact::Hello(Box::new(flow.clone()), Box::new(hello)), &Context::default());
        assert!(line.contains(r#""src_ip":"2001:db8::1","src_port":50123,"dest_ip":"2001:db8::2""#), "{line}");
        assert!(line.contains(r#""proto":"UDP","ip_v":6,"#), "{line}");
        let expected = [
            r#""app_proto":"quic","quic":{"version":""#,
            name,
            r#"","sni":"api16-normal.tiktokv.com","ua":"Chrome/\u0001","ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1","#,
            r#""extensions":[{"name":"alpn","type":16,"values":["h3"]}]}}"#,
        ];
        assert!(line.ends_with(&expected.concat()), "{line}");
    }
}

#[test]
fn a_dns_answer() {
    let record = |record_type, data: &str| DnsRecord {
        name: "www.tiktok.com".to_owned(),
        record_type,
        ttl_s: 300,
        data: data.to_owned(),
    };
    let answer = DnsAnswer {
        id: 0xbeef,
        flags: 0x8180,
        question: "www.tiktok.com".to_owned(),
        question_type: 65,
        answers: vec![record(5, "www.tiktok.com.edgesuite.net"), record(65_400, "?")],
    };
    let flow = Flow { protocol: UDP, server_port: 53, ..flow() };
    let line = line(Fact::Dns(Box::new(flow), Box::new(answer)), &Context::default());
    let expected = [
        r#""app_proto":"dns","dns":{"version":3,"type":"response","tx_id":0,"id":48879,"flags":"8180","qr":true,"rd":true,"#,
        r#""ra":true,"opcode":0,"rcode":"NOERROR","queries":[{"rrname":"www.tiktok.com","rrtype":"HTTPS"}],"#,
        r#""answers":[{"rrname":"www.tiktok.com","rrtype":"CNAME","ttl":300,"rdata":"www.tiktok.com.edgesuite.net"},"#,
        r#"{"rrname":"www.tiktok.com","rrtype":"TYPE65400","ttl":300,"rdata":"?"}]}}"#,
    ];
    assert!(line.ends_with(&expected.concat()), "{line}");
    assert!(!line.contains("direction"), "{line}");
}

#[test]
fn a_flow_that_ended() {
    let expected = [
        r#"{"timestamp":"2026-11-21T22:05:05.123456+0000","flow_id":1234567890123456789,"event_type":"flow","#,
        TUPLE,
        r#""proto":"TCP","ip_v":4,"community_id":""#,
        &id(TCP),
        r#"","flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":900,"bytes_toclient":4096,"#,
        r#""start":"2026-11-21T22:05:05.123456+0000","end":"2026-11-21T22:05:07.623456+0000","age":2,"#,
        r#""state":"established","reason":"timeout","alerted":true}}"#,
    ];
    let end = Fact::FlowEnd(Box::new(flow()), FlowEnd::Timeout, Some(Arc::new(rule())));
    assert_eq!(line(end, &Context::default()), expected.concat());
    let one_way = Flow { packets_to_client: 0, ..flow() };
    let line = line(Fact::FlowEnd(Box::new(one_way), FlowEnd::Evicted, None), &Context::default());
    assert!(line.ends_with(r#""state":"new","reason":"forced","alerted":false}}"#), "{line}");
}

#[test]
fn each_signature_has_a_text_of_its_own() {
    let text = |kind, signal| signature_text(&Rule { kind, signal, ..rule() });
    let texts: std::collections::BTreeSet<_> = [MatchKind::Suffix, MatchKind::Prefix]
        .into_iter()
        .flat_map(|kind| Signal::ALL.iter().map(move |&signal| text(kind, signal)))
        .chain([text(MatchKind::Ja4, Signal::AppOnly)])
        .collect();
    assert_eq!(texts.len(), 2 * Signal::ALL.len() + 1);
    assert_eq!(text(MatchKind::Prefix, Signal::AppOnly), "vigie TikTok: server address contacted (app-only)");
    // Role, confidence and what matched do not enter: they differ between alerts of one signature id.
    let other = Rule { role: Role::Cdn, confidence: Confidence::Low, text: "x".to_owned(), ..rule() };
    assert_eq!(signature_text(&other), signature_text(&rule()));
    assert_eq!(text(MatchKind::Exact, Signal::Web), text(MatchKind::Pattern, Signal::Web));
}
