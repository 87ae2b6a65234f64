//! Which flow proves a reason: what a person looks at first who doubts the verdict.

use crate::projection::line::ReasonId;
use crate::query::incident::Evidence;

/// The flow that proves a reason, of those of its incident; `all` are all reasons of it.
pub fn proving<'e>(reason: &ReasonId, all: &[ReasonId], flows: &'e [Evidence]) -> Option<&'e Evidence> {
    let first = |is: &dyn Fn(&Evidence) -> bool| flows.iter().find(|flow| is(flow));
    let of_class = |class: &str| first(&|flow| flow.class == class);
    let largest = |is: &dyn Fn(&Evidence) -> bool| flows.iter().filter(|flow| is(flow)).max_by_key(|flow| flow.bytes);
    match reason.id.as_str() {
        "resolver" => of_class("resolver"),
        "current-browser" => of_class("native"),
        "first-run" => {
            let names = all.iter().find(|other| other.id == "boot-names")?;
            first(&|flow| is_about(names, flow))
        }
        // No flow had an answer, and any connection may hide more: the first one stands for all.
        "attempt" | "may-hide-more" => flows.first(),
        "media" => largest(&|flow| flow.class == "media"),
        "long-playback" => largest(&|_| true),
        _ => first(&|flow| is_about(reason, flow)),
    }
}

/// Whether a reason is about the name or the family of a flow.
fn is_about(reason: &ReasonId, flow: &Evidence) -> bool {
    reason.about.iter().any(|told| *told == flow.name || *told == flow.family)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(name: &str, class: &str, family: &str, bytes: u64) -> Evidence {
        Evidence {
            time_us: 0,
            event_id: String::new(),
            name: name.to_owned(),
            class: class.to_owned(),
            family: family.to_owned(),
            kind: String::new(),
            rule: String::new(),
            signature_id: 0,
            sources: String::new(),
            reviewed: String::new(),
            ja4: String::new(),
            region: String::new(),
            proto: String::new(),
            client_port: 0,
            server: String::new(),
            server_port: 0,
            community_id: String::new(),
            bytes,
            place: (0, 0),
        }
    }

    #[test]
    fn each_reason_has_its_flow() {
        let flows = [
            flow("www.tiktok.com", "site", "www", 10),
            flow("dns.byte.example", "resolver", "httpdns", 20),
            flow("tnc16.tiktokv.eu", "native", "tnc", 30),
            flow("v16.tiktokcdn.example", "media", "video", 400),
            flow("v19.tiktokcdn.example", "media", "video", 900),
            flow("boot.tiktokv.eu", "native", "boot", 50),
        ];
        let reason = |id: &str, about: &[&str]| ReasonId {
            id: id.to_owned(),
            about: about.iter().map(|&text| text.to_owned()).collect(),
        };
        let all = [reason("first-run", &[]), reason("boot-names", &["boot.tiktokv.eu"])];
        for (id, about, name) in [
            ("native-families", &["api", "tnc"][..], "tnc16.tiktokv.eu"),
            ("resolver", &[], "dns.byte.example"),
            ("boot-names", &["boot.tiktokv.eu"], "boot.tiktokv.eu"),
            ("first-run", &[], "boot.tiktokv.eu"),
            ("contacted-again", &["tnc"], "tnc16.tiktokv.eu"),
            ("current-browser", &[], "tnc16.tiktokv.eu"),
            ("media", &[], "v19.tiktokcdn.example"),
            ("long-playback", &[], "v19.tiktokcdn.example"),
            ("attempt", &[], "www.tiktok.com"),
            ("may-hide-more", &[], "www.tiktok.com"),
            ("site-names", &["www.tiktok.com"], "www.tiktok.com"),
        ] {
            assert_eq!(proving(&reason(id, about), &all, &flows).map(|flow| flow.name.as_str()), Some(name), "{id}");
        }
        assert!(proving(&reason("native-families", &["aweme"]), &all, &flows).is_none());
        assert!(proving(&reason("of another sensor", &[]), &all, &flows).is_none());
        assert!(proving(&reason("first-run", &[]), &[], &flows).is_none());
    }
}
