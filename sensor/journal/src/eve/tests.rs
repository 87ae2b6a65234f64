//! One golden line of each event type. That they are valid against Suricata's schema is tested from outside.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::record::{DnsAnswer, DnsRecord, HttpRequest, Signature, Tunnel};

const START_NS: u64 = 1_795_298_705_123_456_789;
const JA4: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";

fn flow() -> Flow<'static> {
    Flow {
        id: 1_234_567_890_123_456,
        client: IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
        pseudonym_period: None,
        client_port: 50123,
        server: IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
        server_port: 443,
        protocol: TCP,
        interface: None,
        vlans: &[],
        tunnel: None,
        first_seen_ns: START_NS,
        last_seen_ns: START_NS + 2_500_000_000,
        packets_to_server: 3,
        packets_to_client: 2,
        bytes_to_server: 900,
        bytes_to_client: 4096,
    }
}

fn alert(sources: &[String]) -> Alert<'_> {
    Alert {
        signature: Signature {
            id: 8_100_001,
            text: "vigie TikTok: app in use",
            severity: 1,
            service: "tiktok",
            service_name: "TikTok",
            role: "app-api",
            class: "native",
            family: "api",
            verdict: "app",
            confidence: "high",
            match_kind: "suffix",
            rule: "tiktokv.com",
            sources,
            reviewed: "2026-11-01",
        },
        evidence: "prefix",
        app_proto: "failed",
        name: None,
        name_as_sent: None,
        server_asn: None,
        server_country: Some("US"),
        hello: None,
        desync: Vec::new(),
        incident: &[],
        summarised: 0,
    }
}

/// A hello that offers `h2` and `http/1.1`.
fn hello(transport: HelloTransport, alpn: &[String]) -> Hello<'_> {
    Hello {
        transport,
        server_name: Some("api16-normal.tiktokv.com"),
        alpn,
        version: 0x0304,
        ja4: Some(JA4),
        ech: None,
        partial: false,
        user_agent: None,
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn record<'a>(flow: Flow<'a>, body: Body<'a>) -> Record<'a> {
    let frame_number = if matches!(body, Body::FlowEnd(_)) { None } else { Some(4) };
    Record { timestamp_ns: START_NS, frame_number, host: None, flow, body, truncated: Truncated::default() }
}

fn line(record: &Record<'_>) -> String {
    let mut out = b"before\n".to_vec();
    encode(record, &mut out);
    let text = String::from_utf8(out).unwrap();
    let line = text.strip_prefix("before\n").unwrap().strip_suffix('\n').unwrap().to_owned();
    assert!(!line.contains('\n'));
    serde_json::from_str::<serde_json::Value>(&line).unwrap();
    line
}

const HEAD: &str = r#"{"timestamp":"2026-11-21T22:05:05.123456+0000","flow_id":1234567890123456,"pcap_cnt":4,"#;
const TUPLE: &str = r#""src_ip":"10.1.2.3","src_port":50123,"dest_ip":"8.8.8.8","dest_port":443,"#;

fn id(protocol: u8) -> String {
    let id = community_id(protocol, ("10.1.2.3".parse().unwrap(), 50123), ("8.8.8.8".parse().unwrap(), 443));
    String::from_utf8(id.to_vec()).unwrap()
}

#[test]
fn an_alert_says_all_that_is_known() {
    let tunnel = Tunnel {
        kind: "vxlan",
        carrier: "UDP",
        source: Some("192.0.2.1".parse().unwrap()),
        destination: Some("2001:db8::2".parse().unwrap()),
        depth: 1,
    };
    let flow = Flow { interface: Some("eth0"), vlans: &[100, 7], tunnel: Some(tunnel), ..flow() };
    let (sources, alpn) = (texts(&["v2fly", "ndpi"]), texts(&["h2", "http/1.1"]));
    let alert = Alert {
        evidence: "tls-sni",
        app_proto: "tls",
        name: Some("api16-normal.tiktokv.com"),
        server_asn: Some(396_986),
        hello: Some(Hello { ech: Some("grease"), partial: true, ..hello(HelloTransport::Tls, &alpn) }),
        ..alert(&sources)
    };
    let expected = [
        HEAD,
        r#""in_iface":"eth0","event_type":"alert","vlan":[100,7],"#,
        TUPLE,
        r#""proto":"TCP","ip_v":4,"pkt_src":"wire/pcap","community_id":""#,
        &id(TCP),
        r#"","host":"tap-\"1\"","tunnel":{"src_ip":"192.0.2.1","dest_ip":"2001:db8::2","proto":"UDP","depth":1},"#,
        r#""direction":"to_server","app_proto":"tls","alert":{"action":"allowed","gid":1,"signature_id":8100001,"rev":1,"#,
        r#""signature":"vigie TikTok: app in use","category":"Potential Corporate Privacy Violation","severity":1,"metadata":{"service":["tiktok"],"service_name":["TikTok"],"role":["app-api"],"class":["native"],"family":["api"],"#,
        r#""verdict":["app"],"evidence":["tls-sni"],"confidence":["high"],"name":["api16-normal.tiktokv.com"],"#,
        r#""match":["suffix"],"rule":["tiktokv.com"],"sources":["v2fly","ndpi"],"reviewed":["2026-11-01"],"#,
        r#""server_asn":["396986"],"server_country":["US"],"tunnel":["vxlan"],"ech":["grease"],"hello":["partial"]}},"#,
        r#""tls":{"sni":"api16-normal.tiktokv.com","version":"TLS 1.3","ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1","#,
        r#""client_alpns":["h2","http/1.1"]},"flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":900,"#,
        r#""bytes_toclient":4096,"start":"2026-11-21T22:05:05.123456+0000","end":"2026-11-21T22:05:07.623456+0000"}}"#,
    ];
    let record = Record { host: Some("tap-\"1\""), ..record(flow, Body::Alert(alert)) };
    assert_eq!(line(&record), expected.concat());
}

#[test]
fn an_alert_without_hello_or_name() {
    let line = line(&record(flow(), Body::Alert(alert(&[]))));
    assert!(line.contains(r#""app_proto":"failed","alert":{"#), "{line}");
    assert!(line.contains(r#""confidence":["high"],"match":["suffix"]"#), "{line}");
    assert!(line.contains(r#""server_country":["US"]}},"flow":{"#), "{line}");
}

#[test]
fn a_tls_hello() {
    let alpn = texts(&["h2", "http/1.1"]);
    let expected = [
        HEAD,
        r#""event_type":"tls","#,
        TUPLE,
        r#""proto":"TCP","ip_v":4,"pkt_src":"wire/pcap","community_id":""#,
        &id(TCP),
        r#"","direction":"to_server","app_proto":"tls","tls":{"sni":"api16-normal.tiktokv.com","version":"TLS 1.3","#,
        r#""ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1","client_alpns":["h2","http/1.1"]}}"#,
    ];
    assert_eq!(line(&record(flow(), Body::Hello(hello(HelloTransport::Tls, &alpn)))), expected.concat());
}

#[test]
fn a_dtls_hello_is_tls_over_udp() {
    let hello = Hello { server_name: None, ja4: None, version: 0xfefd, ..hello(HelloTransport::Dtls, &[]) };
    let flow = Flow { protocol: UDP, ..flow() };
    let line = line(&record(flow, Body::Hello(hello)));
    assert!(line.contains(r#""event_type":"tls""#) && line.contains(r#""proto":"UDP""#), "{line}");
    assert!(line.ends_with(r#""app_proto":"tls","tls":{"version":"DTLS 1.2"}}"#), "{line}");
}

#[test]
fn quic_hellos_of_all_families() {
    let flow = Flow {
        protocol: UDP,
        client: "2001:db8::1".parse().unwrap(),
        server: "2001:db8::2".parse().unwrap(),
        ..flow()
    };
    let alpn = texts(&["h3"]);
    for (version, name) in [
        (1, "1"),
        (0x6b33_43cf, "6b3343cf"),
        (0xff00_001d, "ff00001d"),
        (0x5130_3433, "Q043"),
        (0x5430_3531, "T051"),
        (0x5151_5151, "51515151"),
    ] {
        let hello = Hello { user_agent: Some("Chrome/\u{1}"), ..hello(HelloTransport::Quic(version), &alpn) };
        let line = line(&record(flow.clone(), Body::Hello(hello)));
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
fn an_http_request() {
    let request = |method| line(&record(flow(), Body::Http(HttpRequest { hostname: "www.tiktok.com", method })));
    let expected =
        r#""direction":"to_server","app_proto":"http","http":{"hostname":"www.tiktok.com","http_method":"GET"}}"#;
    assert!(request(Some("GET")).ends_with(expected), "{}", request(Some("GET")));
    assert!(request(None).ends_with(r#""http":{"hostname":"www.tiktok.com"}}"#));
}

#[test]
fn a_dns_answer() {
    let answer = |record_type, data| DnsRecord { name: "www.tiktok.com", record_type, ttl_s: 300, data };
    let answer = DnsAnswer {
        id: 0xbeef,
        flags: 0x8180,
        question: "www.tiktok.com",
        question_type: 65,
        answers: vec![answer(5, "www.tiktok.com.edgesuite.net"), answer(65_400, "?")],
    };
    let flow = Flow { protocol: UDP, server_port: 53, ..flow() };
    let line = line(&record(flow, Body::Dns(answer)));
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
fn flows_without_ports() {
    // Community ids as the specification's baseline has them.
    let icmp = Flow { protocol: 1, client_port: 8, server_port: 0, ..flow() };
    let flow_of = |flow: Flow<'_>, client: &str, server: &str| {
        let flow = Flow { client: client.parse().unwrap(), server: server.parse().unwrap(), ..flow };
        line(&record(flow, Body::FlowEnd(FlowEnd { reason: FlowEndReason::Timeout, alerted: false })))
    };
    let echo = flow_of(icmp, "192.168.0.89", "192.168.0.1");
    let expected =
        r#""src_ip":"192.168.0.89","dest_ip":"192.168.0.1","proto":"ICMP","icmp_type":8,"icmp_code":0,"ip_v":4,"#;
    assert!(echo.contains(expected) && echo.contains(r#""community_id":"1:X0snYXpgwiv9TZtqg64sgzUn6Dk=""#), "{echo}");
    let unreachable = flow_of(
        Flow { protocol: 58, client_port: 1, server_port: 4, ..flow() },
        "3ffe:501:410:0:2c0:dfff:fe47:33e",
        "3ffe:507:0:1:200:86ff:fe05:80da",
    );
    let expected = r#""proto":"IPv6-ICMP","icmp_type":1,"icmp_code":4,"ip_v":6,"#;
    assert!(unreachable.contains(expected), "{unreachable}");
    assert!(unreachable.contains(r#""community_id":"1:hLZd0XGWojozrvxqE0dWB1iM6R0=""#), "{unreachable}");
    for (protocol, name) in [(47, "GRE"), (50, "ESP"), (51, "AH"), (2, "IGMP"), (46, "046")] {
        let other = flow_of(Flow { protocol, client_port: 0, server_port: 0, ..flow() }, "10.1.12.1", "10.1.12.2");
        assert!(other.contains(&format!(r#""dest_ip":"10.1.12.2","proto":"{name}","ip_v":4"#)), "{other}");
    }
}

#[test]
fn a_flow_that_ended() {
    let expected = [
        r#"{"timestamp":"2026-11-21T22:05:05.123456+0000","flow_id":1234567890123456,"event_type":"flow","#,
        TUPLE,
        r#""proto":"TCP","ip_v":4,"community_id":""#,
        &id(TCP),
        r#"","flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":900,"bytes_toclient":4096,"#,
        r#""start":"2026-11-21T22:05:05.123456+0000","end":"2026-11-21T22:05:07.623456+0000","age":2,"#,
        r#""state":"established","reason":"timeout","alerted":true}}"#,
    ];
    let end = FlowEnd { reason: FlowEndReason::Timeout, alerted: true };
    assert_eq!(line(&record(flow(), Body::FlowEnd(end))), expected.concat());
    let one_way = Flow { packets_to_client: 0, ..flow() };
    let end = FlowEnd { reason: FlowEndReason::Evicted, alerted: false };
    let line = line(&record(one_way, Body::FlowEnd(end)));
    assert!(line.ends_with(r#""state":"new","reason":"forced","alerted":false}}"#), "{line}");
}
