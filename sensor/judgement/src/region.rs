//! The region that the owner wrote into a host name, such as `no1a` for Norway. It says where the owner means the service to
//! be, not where the bytes end.

/// Labels and what they stand for. A label counts as a whole between hyphens and dots.
const REGIONS: [(&str, &str); 20] = [
    ("no1a", "Norway"),
    ("ie", "Ireland"),
    ("ie2", "Ireland"),
    ("fra4a", "Frankfurt"),
    ("defra4a", "Frankfurt"),
    ("mxp2a", "Milan"),
    ("useastred", "US-EastRed, the European enclave"),
    ("useast5", "United States, TTP"),
    ("useast8", "United States, TTP"),
    ("useast1a", "Virginia"),
    ("va", "Virginia"),
    ("vaali", "Virginia"),
    ("maliva", "Virginia"),
    ("useast2a", "United States, east"),
    ("alisg", "Singapore"),
    ("sg", "Singapore"),
    ("sgali", "Singapore"),
    ("sg2", "Singapore"),
    ("my", "Malaysia"),
    ("ycru", "Russia"),
];
/// The third party's data centres: whose, the zone says.
const TTP: [&str; 2] = ["ttp2", "ttp"];

/// The region in a host name in normal form, and the label that says it.
pub fn region(name: &str) -> Option<(&'static str, &str)> {
    let labels = || name.split(['.', '-']);
    let known = labels().find_map(|label| {
        let region = REGIONS.iter().find(|(known, _)| *known == label);
        region.map(|(_, region)| (*region, label))
    });
    known.or_else(|| {
        let label = labels().find(|label| TTP.contains(label))?;
        let region = if name.ends_with(".eu") { "Europe, TTP" } else { "United States, TTP" };
        Some((region, label))
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
            ("www.tiktok.com", None),
            ("www.ievanni.com", None),
            ("", None),
        ] {
            assert_eq!(region(name), expected, "{name}");
        }
    }
}
