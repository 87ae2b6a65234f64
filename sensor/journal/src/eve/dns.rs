//! The `dns` field of an event: an answer, its question and its records.

use crate::json::Object;
use crate::record::{DnsAnswer, DnsRecord};

/// EVE DNS version 3: one event an answer, question and records in arrays.
pub(super) fn write(object: &mut Object<'_>, answer: &DnsAnswer<'_>) {
    let mut dns = object.object("dns");
    dns.number("version", 3);
    dns.text("type", "response");
    dns.number("tx_id", 0);
    dns.number("id", answer.id.into());
    dns.text("flags", &format!("{:x}", answer.flags));
    // RFC 1035 §4.1.1; flags that are not set are left out.
    for (key, mask) in [("qr", 0x8000), ("aa", 0x0400), ("tc", 0x0200), ("rd", 0x0100), ("ra", 0x0080), ("z", 0x0040)] {
        if answer.flags & mask != 0 {
            dns.truth(key, true);
        }
    }
    dns.number("opcode", u64::from(answer.flags >> 11 & 0xf));
    write_code(&mut dns, "rcode", response_code(answer.flags & 0xf), answer.flags & 0xf);
    let out = dns.key("queries");
    out.push(b'[');
    let mut query = Object::open(out);
    query.text("rrname", answer.question);
    write_code(&mut query, "rrtype", record_type(answer.question_type), answer.question_type);
    query.close();
    out.push(b']');
    if !answer.answers.is_empty() {
        write_records(dns.key("answers"), &answer.answers);
    }
    dns.close();
}

fn write_records(out: &mut Vec<u8>, records: &[DnsRecord<'_>]) {
    let mut mark = b'[';
    for record in records {
        out.push(mark);
        mark = b',';
        let mut fields = Object::open(out);
        fields.text("rrname", record.name);
        write_code(&mut fields, "rrtype", record_type(record.record_type), record.record_type);
        fields.number("ttl", record.ttl_s.into());
        fields.text("rdata", record.data);
        fields.close();
    }
    out.push(b']');
}

/// A code by its name, or as `TYPE65400` (RFC 3597 §5) and the like where it has none.
fn write_code(object: &mut Object<'_>, key: &str, name: Option<&str>, code: u16) {
    match name {
        Some(name) => object.text(key, name),
        None if key == "rrtype" => object.text(key, &format!("TYPE{code}")),
        None => object.text(key, &code.to_string()),
    }
}

/// RFC 6895 §2.3.
const fn response_code(code: u16) -> Option<&'static str> {
    Some(match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        _ => return None,
    })
}

/// The registry of resource record types, those met in answers.
const fn record_type(code: u16) -> Option<&'static str> {
    Some(match code {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        39 => "DNAME",
        41 => "OPT",
        43 => "DS",
        44 => "SSHFP",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        50 => "NSEC3",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        255 => "ANY",
        257 => "CAA",
        _ => return None,
    })
}
