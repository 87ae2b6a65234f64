//! The region that the owner wrote into a host name, such as `no1a` for Norway. It says where the owner means the service to
//! be, not where the bytes end.

/// The region in a host name in normal form, and the label that says it. A label counts as a whole between hyphens and dots.
pub fn region(name: &str) -> Option<(&'static str, &str)> {
    let mut ttp = None;
    for label in name.as_bytes().split(|byte| matches!(byte, b'.' | b'-')) {
        let region = match label {
            b"ttp2" | b"ttp" => {
                ttp = ttp.or(Some(label));
                continue;
            }
            _ => region_of(label),
        };
        if let Some(region) = region {
            return Some((region, std::str::from_utf8(label).ok()?));
        }
    }
    // The third party's data centres: whose, the zone says.
    let region = if name.ends_with(".eu") { "Europe, TTP" } else { "United States, TTP" };
    Some((region, std::str::from_utf8(ttp?).ok()?))
}

/// What a label stands for.
const fn region_of(label: &[u8]) -> Option<&'static str> {
    Some(match label {
        b"no1a" => "Norway",
        b"ie" | b"ie2" => "Ireland",
        b"fra4a" | b"defra4a" => "Frankfurt",
        b"mxp2a" => "Milan",
        b"useastred" => "US-EastRed, the European enclave",
        b"useast5" | b"useast8" => "United States, TTP",
        b"useast1a" | b"va" | b"vaali" | b"maliva" => "Virginia",
        b"useast2a" => "United States, east",
        b"alisg" | b"sg" | b"sgali" | b"sg2" => "Singapore",
        b"my" => "Malaysia",
        b"ycru" => "Russia",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_regions() {
        for (name, expected) in [
            ("tnc16-normal-no1a.tiktokv.eu", Some(("Norway", "no1a"))),
            ("mcs-ie2.tiktokw.eu", Some(("Ireland", "ie2"))),
            ("tos-quic-fra4a.tiktokcdn-eu.com", Some(("Frankfurt", "fra4a"))),
            ("webmssdk16-normal-useastred.tiktokw.eu", Some(("US-EastRed, the European enclave", "useastred"))),
            ("libraweb-ttp2.tiktokw.eu", Some(("Europe, TTP", "ttp2"))),
            ("frontier-ttp2.tiktokv.us", Some(("United States, TTP", "ttp2"))),
            ("api16-normal-c-alisg.tiktokv.com", Some(("Singapore", "alisg"))),
            ("maliva-mcs.byteoversea.com", Some(("Virginia", "maliva"))),
            ("log-va.tiktokv.com", Some(("Virginia", "va"))),
            ("log-vaali.tiktokv.com", Some(("Virginia", "vaali"))),
            ("api-useast1a.tiktokv.com", Some(("Virginia", "useast1a"))),
            ("api16-useast2a.tiktokv.com", Some(("United States, east", "useast2a"))),
            ("gecko16-normal-useast5.tiktokv.us", Some(("United States, TTP", "useast5"))),
            ("api-useast8.tiktokv.us", Some(("United States, TTP", "useast8"))),
            ("mcs-ie.tiktokw.eu", Some(("Ireland", "ie"))),
            ("api-defra4a.tiktokv.eu", Some(("Frankfurt", "defra4a"))),
            ("api-mxp2a.tiktokv.eu", Some(("Milan", "mxp2a"))),
            ("mon-sg.tiktokv.com", Some(("Singapore", "sg"))),
            ("log-sgali.tiktokv.com", Some(("Singapore", "sgali"))),
            ("api-sg2.tiktokv.com", Some(("Singapore", "sg2"))),
            ("api-my.tiktokv.com", Some(("Malaysia", "my"))),
            ("log-ycru.tiktokv.com", Some(("Russia", "ycru"))),
            ("api-ttp.tiktokv.us", Some(("United States, TTP", "ttp"))),
            // A region is surer than whose data centre it is, wherever it stands.
            ("api-ttp-useast5.tiktokv.us", Some(("United States, TTP", "useast5"))),
            ("ttp2.no1a.tiktokv.eu", Some(("Norway", "no1a"))),
            ("ttp-ttp2.tiktokw.eu", Some(("Europe, TTP", "ttp"))),
            ("www.tiktok.com", None),
            ("www.ievanni.com", None),
            ("", None),
        ] {
            assert_eq!(region(name), expected, "{name}");
        }
    }
}
