//! Which flow proves a reason: what a person looks at first who doubts the verdict.

use crate::query::incident::Evidence;

/// What stands before the names of a first start.
const FIRST_START: &str = "names of a first start: ";

/// The flow that proves a reason, of those of its incident; `reasons` are all of them, in the words of the event.
pub fn proving<'e>(reason: &str, reasons: &[String], flows: &'e [Evidence]) -> Option<&'e Evidence> {
    let first = |is: &dyn Fn(&Evidence) -> bool| flows.iter().find(|flow| is(flow));
    let of_class = |class: &str| first(&|flow| flow.class == class);
    let largest = |is: &dyn Fn(&Evidence) -> bool| flows.iter().filter(|flow| is(flow)).max_by_key(|flow| flow.bytes);
    match reason {
        "the owner's name resolver for its apps was contacted too" => of_class("resolver"),
        _ if reason.starts_with("a current browser contacted all native names") => of_class("native"),
        _ if reason.starts_with("probable first start") => {
            let names = reasons.iter().find(|other| other.starts_with(FIRST_START))?;
            first(&|flow| is_listed(names, flow))
        }
        // No flow had an answer, and any connection may hide more: the first one stands for all.
        _ if reason.starts_with("no contact was answered") || reason.starts_with("these names or more") => {
            flows.first()
        }
        _ if reason.ends_with(" of media") => largest(&|flow| flow.class == "media"),
        _ if reason.ends_with("the site or a player on an open page") => largest(&|_| true),
        _ => match reason.strip_prefix("the same interface family, ").and_then(|rest| rest.split_once(',')) {
            Some((family, _)) => first(&|flow| flow.family == family),
            None => first(&|flow| is_listed(reason, flow)),
        },
    }
}

/// Whether the list behind a reason has the name or the family of a flow.
fn is_listed(reason: &str, flow: &Evidence) -> bool {
    let list = reason.rsplit_once(": ").map_or("", |(_, list)| list);
    list.split(", ").any(|told| !told.is_empty() && (told == flow.name || told == flow.family))
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
        let reasons =
            ["probable first start; the download itself is not visible", "names of a first start: boot.tiktokv.eu"]
                .map(str::to_owned);
        for (reason, name) in [
            ("native interface families: api, tnc", "tnc16.tiktokv.eu"),
            ("the owner's name resolver for its apps was contacted too", "dns.byte.example"),
            ("names of a first start: boot.tiktokv.eu", "boot.tiktokv.eu"),
            ("probable first start; the download itself is not visible", "boot.tiktokv.eu"),
            ("the same interface family, tnc, was contacted 2 h before", "tnc16.tiktokv.eu"),
            (
                "a current browser contacted all native names: a page can load pictures from any host",
                "tnc16.tiktokv.eu",
            ),
            ("12 MB of media", "v19.tiktokcdn.example"),
            ("41 MB over 8 min: the site or a player on an open page", "v19.tiktokcdn.example"),
            ("no contact was answered: it was tried, and nothing was exchanged", "www.tiktok.com"),
        ] {
            assert_eq!(proving(reason, &reasons, &flows).map(|flow| flow.name.as_str()), Some(name), "{reason}");
        }
        assert!(proving("native interface families: aweme", &reasons, &flows).is_none());
        assert!(proving("a reason of another sensor", &reasons, &flows).is_none());
    }
}
