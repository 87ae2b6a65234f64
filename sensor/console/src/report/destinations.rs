//! Where bytes went, by the region in the host name: the share of European regions, against the period before. A device that
//! is nearly alone with a service would be seen in its bytes, so small groups are not told here either.

use std::collections::BTreeMap;

use rusqlite::{Row, params};
use serde::Serialize;

use super::figures::{Period, Source, each};
use super::suppress::{CELL_MIN, suppressed};

/// Regions in Europe, as events name them. "US-EastRed, the European enclave" stands in the United States.
const EUROPEAN: [&str; 5] = ["Norway", "Ireland", "Frankfurt", "Milan", "Europe, TTP"];

/// The destinations of a service, or of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Empty: all services.
    pub service: String,
    /// None: of fewer incidents than may be told.
    pub shares: Option<Shares>,
    /// The same of the period before; none also where there was nothing.
    pub before: Option<Shares>,
}

/// Bytes to and from regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shares {
    pub european: u64,
    pub elsewhere: u64,
    /// The host name tells no region.
    pub not_told: u64,
}

impl Shares {
    /// All bytes.
    pub const fn bytes(&self) -> u64 {
        self.european.saturating_add(self.elsewhere).saturating_add(self.not_told)
    }

    /// The European part of what tells a region, in tenths of a per cent; none where nothing does.
    pub fn european_permille(&self) -> Option<u64> {
        let told = self.european.saturating_add(self.elsewhere);
        (told > 0).then(|| (self.european as f64 * 1_000.0 / told as f64).round() as u64)
    }
}

/// Bytes, and of how many incidents they are at least: those of the region with most of them.
#[derive(Clone, Copy, Debug, Default)]
struct Class {
    bytes: f64,
    incidents: u64,
}

/// The classes of [`Shares`], in its order.
type Classes = [Class; 3];

/// All services together first.
///
/// # Errors
/// The tables cannot be read.
pub fn of(sources: &[Source], period: &Period, earlier: &Period) -> rusqlite::Result<Vec<Destination>> {
    let now = told(&classes(sources, period)?);
    let mut before = told(&classes(sources, earlier)?);
    let row = |(service, shares): (String, Option<Shares>)| {
        let before = before.remove(&service).flatten();
        Destination { service, shares, before }
    };
    Ok(now.into_iter().map(row).collect())
}

fn classes(sources: &[Source], period: &Period) -> rusqlite::Result<BTreeMap<String, Classes>> {
    let query = "SELECT service, region, total(sent) + total(received), sum(incidents) FROM destination
                 WHERE day BETWEEN ?1 AND ?2 GROUP BY 1, 2";
    let region = |row: &Row<'_>| {
        let incidents = row.get::<_, i64>(3)?.max(0) as u64;
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, Class { bytes: row.get(2)?, incidents }))
    };
    let found = each(sources, |tables| {
        let mut query = tables.prepare(query)?;
        let regions = query.query_map(params![period.from, period.to], region)?;
        Ok(of_services(regions.collect::<rusqlite::Result<Vec<_>>>()?))
    });
    let mut all: BTreeMap<String, Classes> = BTreeMap::new();
    for (service, classes) in found?.into_iter().flatten() {
        for key in [service, String::new()] {
            for (sum, class) in all.entry(key).or_default().iter_mut().zip(classes) {
                sum.bytes += class.bytes;
                sum.incidents += class.incidents;
            }
        }
    }
    Ok(all)
}

/// The regions of each service in classes.
fn of_services(regions: Vec<(String, String, Class)>) -> BTreeMap<String, Classes> {
    let mut services: BTreeMap<String, Classes> = BTreeMap::new();
    for (service, region, found) in regions {
        let place = match region.as_str() {
            "" => 2,
            region if EUROPEAN.contains(&region) => 0,
            _ => 1,
        };
        if let Some(class) = services.entry(service).or_default().get_mut(place) {
            class.bytes += found.bytes;
            // One incident may have several regions, so a sum would say too much.
            class.incidents = class.incidents.max(found.incidents);
        }
    }
    services
}

/// The shares that may be told: of no class of one to four incidents, and never all but one, since what is left of all would be the
/// shares of that one.
fn told(classes: &BTreeMap<String, Classes>) -> BTreeMap<String, Option<Shares>> {
    let is_small = |classes: &Classes| classes.iter().any(|class| (1..CELL_MIN).contains(&class.incidents));
    let most = |classes: &Classes| classes.iter().map(|class| class.incidents).max().unwrap_or_default();
    let services: Vec<(&String, &Classes)> = classes.iter().filter(|(service, _)| !service.is_empty()).collect();
    // A service with a small class counts as a small cell.
    let counts: Vec<u64> =
        services.iter().map(|(_, classes)| if is_small(classes) { 1 } else { most(classes) }).collect();
    let may_be_told: Vec<bool> = suppressed(&counts).iter().map(Option::is_some).collect();
    let shares = |classes: &Classes| {
        let [european, elsewhere, not_told] = classes.map(|class| class.bytes.max(0.0) as u64);
        Shares { european, elsewhere, not_told }
    };
    let mut told: BTreeMap<String, Option<Shares>> = services
        .iter()
        .zip(may_be_told)
        .map(|((service, classes), is_told)| ((*service).clone(), is_told.then(|| shares(classes))))
        .collect();
    if let Some(all) = classes.get("") {
        told.insert(String::new(), (!is_small(all)).then(|| shares(all)));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(incidents: [u64; 3]) -> Classes {
        incidents.map(|incidents| Class { bytes: incidents as f64 * 100.0, incidents })
    }

    fn told_of(services: &[(&str, [u64; 3])]) -> BTreeMap<String, Option<Shares>> {
        let mut all: BTreeMap<String, Classes> =
            services.iter().map(|(service, incidents)| ((*service).to_owned(), classes(*incidents))).collect();
        let sum = [0, 1, 2].map(|place| services.iter().map(|(_, incidents)| incidents[place]).sum());
        all.insert(String::new(), classes(sum));
        told(&all)
    }

    #[test]
    fn no_small_group_is_told_and_none_can_be_computed() {
        let told = told_of(&[("a", [10, 0, 7]), ("b", [20, 8, 0])]);
        assert_eq!(told["a"], Some(Shares { european: 1_000, elsewhere: 0, not_told: 700 }));
        assert!(told.values().all(Option::is_some));
        // One contact elsewhere: of whom, could be known.
        let told = told_of(&[("a", [10, 1, 7]), ("b", [20, 8, 0]), ("c", [90, 9, 0])]);
        assert_eq!((told["a"], told["b"]), (None, None), "b goes with it: else a is what is left of all");
        assert!(told["c"].is_some() && told[""].is_some());
        let told = told_of(&[("a", [3, 0, 0])]);
        assert_eq!((told["a"], told[""]), (None, None));
        assert!(told_of(&[]).values().all(Option::is_some));
    }

    #[test]
    fn the_share_is_of_what_tells_a_region() {
        let shares = Shares { european: 1, elsewhere: 2, not_told: 97 };
        assert_eq!((shares.european_permille(), shares.bytes()), (Some(333), 100));
        assert_eq!(Shares { not_told: 5, ..Shares::default() }.european_permille(), None);
    }
}
