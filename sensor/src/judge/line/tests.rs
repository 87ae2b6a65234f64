use super::*;
use vigie_signatures::{Bundle, Clients};

const TIME: &str = "2026-11-27T18:58:14.000000+0000";
const TIME_NS: u64 = 1_795_805_894_000_000_000;

fn recogniser() -> Recogniser {
    Recogniser::new(Bundle::builtin(), Clients::builtin())
}

/// What a line says, as text.
fn said(line: &str) -> String {
    let recogniser = recogniser();
    match read(line.as_bytes(), &recogniser) {
        Ok(None) => "nothing".to_owned(),
        Err(error) => format!("bad: {error}"),
        Ok(Some(record)) => match record.what {
            What::Named(_) => "named".to_owned(),
            What::FlowBytes(_) => panic!("logs tell of flows that have ended"),
            What::Contact(contact) => {
                let Contact { client, attribution, name, kind, stack, answered, .. } = &*contact;
                let (up, down) = (contact.bytes_to_server, contact.bytes_to_client);
                let has_flow = contact.flow.is_some();
                format!(
                    "{client} {} {name} {kind:?} {stack:?} {answered:?} {up} {down} {has_flow}",
                    attribution.service
                )
            }
            What::FlowEnd(end) => {
                let FlowEnd { start_ns, end_ns, bytes_to_client, bytes_to_server, answered, nameless, .. } = end;
                let length_s = (end_ns - start_ns) / 1_000_000_000;
                let nameless = nameless.map(|contact| contact.attribution.service.to_string());
                format!("end {length_s} {bytes_to_server} {bytes_to_client} {answered:?} {nameless:?}")
            }
        },
    }
}

#[track_caller]
fn check(line: &str, expected: &str) {
    assert_eq!(said(line), expected, "{line}");
}

#[test]
fn suricata_hellos() {
    let of = |rest: &str| {
        format!(r#"{{"timestamp":"{TIME}","flow_id":7,"src_ip":"10.0.0.1","dest_ip":"192.0.2.1","host":"tap",{rest}}}"#)
    };
    check(
        &of(r#""event_type":"tls","tls":{"sni":"WWW.TikTok.com.","ja4":"t13d1516h2_8daaf6152771_d8a2da3f94cd"}"#),
        "10.0.0.1 tiktok www.tiktok.com Flow Browser Unknown 0 0 true",
    );
    check(
        &of(r#""event_type":"quic","quic":{"version":"1","sni":"api16-normal-c-useast1a.tiktokv.com"}"#),
        "10.0.0.1 tiktok api16-normal-c-useast1a.tiktokv.com Flow Other Unknown 0 0 true",
    );
    check(
        &of(r#""event_type":"http","http":{"hostname":"www.tiktok.com:8080","url":"/"}"#),
        "10.0.0.1 tiktok www.tiktok.com Flow Other Unknown 0 0 true",
    );
    check(&of(r#""event_type":"tls","tls":{"sni":"example.com"}"#), "nothing");
    check(&of(r#""event_type":"stats","stats":{"uptime":1}"#), "nothing");
    check(&of(r#""event_type":"alert","tls":{"sni":"www.tiktok.com"}"#), "nothing");
    check(r#"{"event_type":"tls","src_ip":"10.0.0.1","tls":{"sni":"www.tiktok.com"}}"#, "bad: it has no time");
}

#[test]
fn suricata_dns_of_both_versions() {
    let of = |dns: &str| {
        format!(r#"{{"timestamp":"{TIME}","event_type":"dns","src_ip":"10.0.0.1","dest_ip":"10.0.0.53","dns":{dns}}}"#)
    };
    let question = "10.0.0.1 tiktok im-ws.tiktok.com DnsQuestion Other Unknown 0 0 false";
    check(&of(r#"{"type":"query","rrname":"im-ws.tiktok.com","rrtype":"A"}"#), question);
    check(&of(r#"{"version":3,"type":"request","queries":[{"rrname":"im-ws.tiktok.com","rrtype":"A"}]}"#), question);
    check(&of(r#"{"type":"answer","rrname":"im-ws.tiktok.com"}"#), "nothing");
    // A name of a CNAME chain says nothing of who asked.
    check(&of(r#"{"type":"query","rrname":"mon.tiktokv.com.ttdns2.com"}"#), "nothing");
}

#[test]
fn suricata_flows_tell_bytes_and_answers() {
    let of = |server: &str, flow: &str| {
        format!(
            r#"{{"timestamp":"{TIME}","event_type":"flow","flow_id":7,"src_ip":"10.0.0.1","dest_ip":"{server}",{flow}}}"#
        )
    };
    let flow = |packets: u64| {
        format!(
            r#""flow":{{"pkts_toserver":9,"pkts_toclient":{packets},"bytes_toserver":100,"bytes_toclient":2000,
               "start":"2026-11-27T18:58:14.000000+0000","end":"2026-11-27T18:59:15.000000+0000","age":61}}"#
        )
    };
    check(&of("192.0.2.1", &flow(9)), "end 61 100 2000 Yes None");
    check(&of("192.0.2.1", &flow(0)), "end 61 100 2000 No None");
    let reset = |packets| format!(r#"{},"tcp":{{"tcp_flags_ts":"1e","tcp_flags_tc":"16"}}"#, flow(packets));
    check(&of("192.0.2.1", &reset(3)), "end 61 100 2000 No None");
    check(&of("192.0.2.1", &reset(4)), "end 61 100 2000 Yes None");
    let closed = format!(r#"{},"tcp":{{"tcp_flags_tc":"1b"}}"#, flow(3));
    check(&of("192.0.2.1", &closed), "end 61 100 2000 Yes None");
    check(&of("34.102.215.99", &flow(9)), "end 61 100 2000 Yes Some(\"bytedance-infra\")");
}

#[test]
fn a_name_on_a_known_address_is_told_apart() {
    let line = |name: &str| {
        format!(
            r#"{{"timestamp":"{TIME}","event_type":"tls","flow_id":7,"src_ip":"10.0.0.1","dest_ip":"34.102.215.99",
               "tls":{{{name}}}}}"#
        )
    };
    check(&line(r#""sni":"example.com""#), "named");
    check(&line(r#""version":"TLS 1.3""#), "10.0.0.1 bytedance-infra  Flow Other Unknown 0 0 true");
    check(&line(r#""sni":"34.102.215.99""#), "10.0.0.1 bytedance-infra  Flow Other Unknown 0 0 true");
}

#[test]
fn zeek_logs() {
    let of = |rest: &str| {
        format!(
            r#"{{"ts":1795805894.5,"uid":"CHhAvVGS1DHFjwGM9","id.orig_h":"2001:db8::1","id.orig_p":50000,
               "id.resp_h":"192.0.2.1","id.resp_p":443,{rest}}}"#
        )
    };
    check(
        &of(r#""version":"TLSv13","cipher":"x","server_name":"www.tiktok.com","established":true"#),
        "2001:db8::1 tiktok www.tiktok.com Flow Other Unknown 0 0 true",
    );
    check(
        &of(r#""_path":"quic","version":"1","server_name":"www.tiktok.com","history":"IISs""#),
        "2001:db8::1 tiktok www.tiktok.com Flow Other Unknown 0 0 true",
    );
    check(
        &of(r#""method":"GET","host":"www.tiktok.com","uri":"/""#),
        "2001:db8::1 tiktok www.tiktok.com Flow Other Unknown 0 0 true",
    );
    check(
        &of(r#""proto":"udp","query":"im-ws.tiktok.com","qtype_name":"A""#),
        "2001:db8::1 tiktok im-ws.tiktok.com DnsQuestion Other Unknown 0 0 true",
    );
    let conn = |state: &str, bytes: u64| {
        of(&format!(r#""proto":"tcp","duration":12.5,"orig_bytes":10,"resp_bytes":{bytes},"conn_state":"{state}""#))
    };
    for (state, bytes, answered) in [
        ("SF", 5_000, "Yes"),
        ("SF", 0, "Unknown"),
        ("S0", 0, "No"),
        ("REJ", 0, "No"),
        ("RSTR", 0, "No"),
        ("RSTR", 9, "Yes"),
        ("OTH", 9, "Unknown"),
    ] {
        check(&conn(state, bytes), &format!("end 12 10 {bytes} {answered} None"));
    }
    check(&of(r#""mime_type":"text/html""#), "nothing");
    check(r#"{"ts":1.0,"fuid":"F1","source":"SSL"}"#, "nothing");
    let conn = recogniser();
    let line =
        r#"{"ts":100,"uid":"C1","id.orig_h":"10.0.0.1","id.resp_h":"192.0.2.1","duration":50,"conn_state":"SF"}"#;
    let logged_ns = read(line.as_bytes(), &conn).unwrap().unwrap().logged_ns;
    assert_eq!(logged_ns, 150_000_000_000, "a connection is logged when it ends");
}

#[test]
fn plain_lines() {
    check(
        r#"{"seconds":0.4,"client":"10.66.0.11","name":"aggr32-normal.tiktokv.eu",
            "ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1","bytes_toclient":4e4,"bytes_toserver":9,"answered":false}"#,
        "10.66.0.11 tiktok aggr32-normal.tiktokv.eu Flow App No 9 40000 false",
    );
    check(
        &format!(r#"{{"time":"{TIME}","client":"phone 7","server":"www.tiktok.com","ja4":null,"answered":true}}"#),
        "phone 7 tiktok www.tiktok.com Flow Other Yes 0 0 false",
    );
    check(
        r#"{"time":1,"client":"10.0.0.1","server":"34.102.215.99"}"#,
        "10.0.0.1 bytedance-infra  Flow Other Unknown 0 0 false",
    );
    check(
        r#"{"time":1,"client":"10.0.0.1","name":"www.tiktok.com","server":"0.0.0.0"}"#,
        "10.0.0.1 tiktok www.tiktok.com Flow Other No 0 0 false",
    );
    check(r#"{"time":1,"client":"10.0.0.1","name":"no host name!"}"#, "nothing");
    check(r#"{"client":"10.0.0.1","name":"www.tiktok.com"}"#, "bad: it has no time");
    for bad in [
        "[]",
        "{}",
        r#"{"time":1,"client":"10.0.0.1"}"#,
        r#"{"time":1,"name":"www.tiktok.com"}"#,
        r#"{"time":-1,"client":"10.0.0.1","name":"www.tiktok.com"}"#,
        r#"{"time":"now","client":"10.0.0.1","name":"www.tiktok.com"}"#,
        r#"{"time":1,"client":"10.0.0.1","name":"www.tiktok.c"#,
        "#separator \\x09",
    ] {
        assert!(said(bad).starts_with("bad: "), "{bad}: {}", said(bad));
    }
}

#[test]
fn the_time_is_that_of_the_line() {
    let recogniser = recogniser();
    let line = format!(
        r#"{{"timestamp":"{TIME}","event_type":"tls","src_ip":"10.0.0.1","dest_ip":"192.0.2.1","tls":{{"sni":"www.tiktok.com"}}}}"#
    );
    let record = read(line.as_bytes(), &recogniser).unwrap().unwrap();
    let What::Contact(contact) = record.what else { panic!("{:?}", record.what) };
    assert_eq!((record.logged_ns, contact.time_ns), (TIME_NS, TIME_NS));
}
