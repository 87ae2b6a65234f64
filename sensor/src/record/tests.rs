//! Events to lines. The encoding itself is tested in the journal; here stands what the conversion adds.

use vigie_decode::{Address, Tunnel};
use vigie_handshake::opening::Desync;
use vigie_handshake::tls::{ClientHello, Ja4Transport};
use vigie_signatures::{Class, Confidence, MatchKind, Role};

use super::*;
use crate::event::{CutTexts, DnsRecord, Order};

const START_NS: u64 = 1_795_298_705_123_456_789;

pub fn rule() -> Rule {
    Rule {
        signature_id: 8_100_001,
        service: "tiktok".to_owned(),
        service_name: "TikTok".to_owned(),
        role: Role::AppApi,
        class: Class::Native,
        family: "api".to_owned(),
        traits: vec![],
        alone: true,
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

fn flow() -> Flow {
    Flow {
        id: 1_234_567_890_123_456,
        client: Address::v4([10, 1, 2, 3]),
        client_port: 50123,
        server: Address::v4([8, 8, 8, 8]),
        server_port: 443,
        protocol: 6,
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

/// The smallest hello: one cipher suite, no extension. Its raw fingerprint is `t12i010000_1301__`.
fn ja4() -> Ja4Raw {
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    Ja4Raw::of(&ClientHello::parse(&body, body.len()).unwrap(), Ja4Transport::Tcp).unwrap()
}

/// `t12i010000`, SHA-256 of `1301`, and zeros for no extensions.
const JA4: &str = "t12i010000_0f2cb44170f4_000000000000";

fn hello(transport: HelloTransport) -> Hello {
    Hello {
        transport,
        server_name: Some("api16-normal.tiktokv.com".to_owned()),
        alpn: vec!["h2".to_owned()],
        version: 0x0304,
        ja4: Some(ja4()),
        ech: None,
        partial: false,
        user_agent: None,
        cut: CutTexts::default(),
    }
}

pub fn alert(evidence: Evidence, hello: Option<Hello>) -> Sighting {
    Sighting {
        flow: flow(),
        client_mac: None,
        evidence,
        name: None,
        name_as_sent: None,
        rule: Arc::new(rule()),
        hello,
        desync: Desync::default(),
        summarised: 0,
    }
}

fn line(fact: Fact, context: &Context) -> String {
    let mut out = Vec::new();
    encode(&Event { timestamp_ns: START_NS, frame_number: 4, order: Order::default(), fact }, context, &mut out);
    String::from_utf8(out).unwrap()
}

fn alert_line(alert: Sighting) -> String {
    line(Fact::Sighting(Box::new(alert)), &Context::default())
}

#[test]
fn an_alert_says_all_that_is_known() {
    let mut alert = alert(Evidence::TlsSni, Some(hello(HelloTransport::Tcp)));
    alert.name = Some("api16-normal.tiktokv.com".to_owned());
    alert.rule = Arc::new(Rule { asn: Some(396_986), ..rule() });
    alert.flow.encapsulation = Encapsulation {
        vlans: [100, 7, 0],
        vlan_count: 2,
        tunnel_depth: 1,
        tunnel: Some(Tunnel {
            kind: TunnelKind::Vxlan,
            source: Some(Address::v4([192, 0, 2, 1])),
            destination: Some(Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])),
        }),
        network: 7,
    };
    let context =
        Context { sensor_name: Some("tap-1".to_owned()), interfaces: vec!["eth0".to_owned()], ..Context::default() };
    let line = line(Fact::Sighting(Box::new(alert)), &context);
    let severity = format!(r#""severity":{},"#, rule().severity());
    for expected in [
        r#"{"timestamp":"2026-11-21T22:05:05.123456+0000","flow_id":1234567890123456,"pcap_cnt":4,"in_iface":"eth0","#,
        r#""event_type":"alert","vlan":[100,7],"src_ip":"10.1.2.3","src_port":50123,"dest_ip":"8.8.8.8","dest_port":443,"#,
        r#""host":"tap-1","tunnel":{"src_ip":"192.0.2.1","dest_ip":"2001:db8::2","proto":"UDP","depth":1},"#,
        r#""app_proto":"tls","alert":{"action":"allowed","gid":1,"signature_id":8100001,"rev":1,"#,
        r#""signature":"vigie TikTok: app in use","#,
        &severity,
        r#""metadata":{"service":["tiktok"],"service_name":["TikTok"],"role":["app-api"],"class":["native"],"family":["api"],"#,
        r#""verdict":["app"],"evidence":["tls-sni"],"confidence":["high"],"name":["api16-normal.tiktokv.com"],"#,
        r#""match":["suffix"],"rule":["tiktokv.com"],"sources":["v2fly","ndpi"],"reviewed":["2026-11-01"],"#,
        r#""server_asn":["396986"],"server_country":["US"],"tunnel":["vxlan"]}},"#,
        &format!(
            r#""tls":{{"sni":"api16-normal.tiktokv.com","version":"TLS 1.3","ja4":"{JA4}","client_alpns":["h2"]}},"#
        ),
        r#""flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":900,"bytes_toclient":4096,"#,
    ] {
        assert!(line.contains(expected), "{expected} in {line}");
    }
}

#[test]
fn the_application_protocol_is_that_of_the_hello_or_of_the_evidence() {
    for (evidence, transport, expected) in [
        (Evidence::TlsSni, Some(HelloTransport::Tcp), "tls"),
        (Evidence::DtlsSni, Some(HelloTransport::Dtls), "tls"),
        (Evidence::QuicSni, Some(HelloTransport::Quic(1)), "quic"),
        // A hello without name to a server whose address or DNS name is known.
        (Evidence::Prefix, Some(HelloTransport::Quic(1)), "quic"),
        (Evidence::Dns, Some(HelloTransport::Tcp), "tls"),
        (Evidence::TlsCertificate, None, "tls"),
        (Evidence::QuicSni, None, "quic"),
        (Evidence::HttpHost, None, "http"),
        (Evidence::HttpConnect, None, "http"),
        (Evidence::Socks, None, "failed"),
        (Evidence::ProxyAuthority, None, "failed"),
        (Evidence::Dns, None, "failed"),
        (Evidence::Prefix, None, "failed"),
    ] {
        let line = alert_line(alert(evidence, transport.map(hello)));
        assert!(line.contains(&format!(r#""app_proto":"{expected}","alert""#)), "{evidence:?} {transport:?}: {line}");
        let hello = format!(r#","{expected}":{{"#);
        assert_eq!(line.contains(&hello), transport.is_some(), "{evidence:?} {transport:?}: {line}");
    }
}

#[test]
fn the_hellos_ech_and_missing_end_are_told() {
    for (ech, expected) in [
        (Some(Ech::Grease), r#""server_country":["US"],"ech":["grease"],"hello":["partial"]}"#),
        (Some(Ech::Ambiguous), r#""server_country":["US"],"ech":["ambiguous"],"hello":["partial"]}"#),
        (Some(Ech::Offered), r#""server_country":["US"],"ech":["offered"],"hello":["partial"]}"#),
        (None, r#""server_country":["US"],"hello":["partial"]}"#),
    ] {
        let hello = Hello { ech, partial: true, ..hello(HelloTransport::Tcp) };
        let line = alert_line(alert(Evidence::TlsSni, Some(hello)));
        assert!(line.contains(expected), "{expected} in {line}");
    }
}

#[test]
fn the_bundle_tells_the_autonomous_system_where_the_rule_does_not() {
    let bundle = Bundle::builtin();
    // 71.18.0.0/16 is announced by ByteDance.
    let server = "71.18.1.2".parse().unwrap();
    let asn = bundle.asn(server).unwrap();
    let context = Context { bundle: Some(bundle), ..Context::default() };
    let mut alert = alert(Evidence::TlsSni, None);
    alert.flow.server = Address::from(server);
    let line = line(Fact::Sighting(Box::new(alert)), &context);
    assert!(line.contains(&format!(r#""server_asn":["{asn}"]"#)), "{line}");
}

#[test]
fn interfaces_without_a_name_are_left_out() {
    let context = Context { interfaces: vec![String::new()], ..Context::default() };
    for interface in [0, 1] {
        let end = Fact::FlowEnd(Box::new(Flow { interface, ..flow() }), FlowEnd::Timeout, None);
        assert!(!line(end, &context).contains("in_iface"));
    }
}

#[test]
fn a_dns_answer_and_a_flow_that_ended() {
    let answers = vec![DnsRecord {
        name: "www.tiktok.com".to_owned(),
        record_type: 5,
        ttl_s: 300,
        data: "www.tiktok.com.edgesuite.net".to_owned(),
    }];
    let answer = DnsAnswer {
        id: 48879,
        flags: 0x8180,
        question: "www.tiktok.com".to_owned(),
        question_type: 65,
        answers,
        is_cut: false,
    };
    let dns = line(Fact::Dns(Box::new(flow()), Box::new(answer)), &Context::default());
    let expected = r#""id":48879,"flags":"8180","#;
    assert!(dns.contains(expected), "{dns}");
    let expected = [
        r#""queries":[{"rrname":"www.tiktok.com","rrtype":"HTTPS"}],"#,
        r#""answers":[{"rrname":"www.tiktok.com","rrtype":"CNAME","ttl":300,"rdata":"www.tiktok.com.edgesuite.net"}]}}"#,
    ];
    assert!(dns.trim_end().ends_with(&expected.concat()), "{dns}");
    for (end, rule, expected) in [
        (FlowEnd::Timeout, Some(Arc::new(rule())), r#""reason":"timeout","alerted":true}}"#),
        (FlowEnd::Shutdown, None, r#""reason":"shutdown","alerted":false}}"#),
        (FlowEnd::Evicted, None, r#""reason":"forced","alerted":false}}"#),
    ] {
        let line = line(Fact::FlowEnd(Box::new(flow()), end, rule), &Context::default());
        assert!(!line.contains("pcap_cnt"), "{line}");
        assert!(line.trim_end().ends_with(expected), "{line}");
    }
}
