//! How many devices of the asset list were seen this month: a list that the tap hardly sees says that nothing was found on
//! devices that never passed it, such as phones on mobile data. No more is kept of them than that they were seen.

use std::collections::HashSet;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use vigie_judgement::policy::{Assets, Mac};

/// The devices seen in a month (UTC), by their numbers in the list.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct AssetsSeen {
    /// Year and month.
    month: Option<(i32, u8)>,
    /// Length of the list: numbers of another list say nothing.
    listed: usize,
    seen: HashSet<u32, RandomState>,
}

impl AssetsSeen {
    /// A client was seen.
    pub fn add(&mut self, assets: &Assets, address: IpAddr, mac: Option<[u8; 6]>, time_ns: u64) {
        let by_mac = mac.and_then(|mac| assets.by_mac(Mac(mac)));
        let Some(asset) = by_mac.or_else(|| assets.by_address(address)) else { return };
        let time = OffsetDateTime::from_unix_timestamp_nanos(time_ns.into());
        let month = time.ok().map(|time| (time.year(), u8::from(time.month())));
        // Events come a little out of order: an earlier month does not come back.
        if self.month < month || self.listed != assets.len() {
            *self = Self { month, listed: assets.len(), seen: HashSet::default() };
        }
        self.seen.insert(asset.number);
    }

    /// How many devices were seen.
    pub fn count(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_judgement::policy::AssetsBuilder;

    const DAY_NS: u64 = 86_400_000_000_000;

    #[test]
    fn each_device_counts_once_a_month() {
        let mut builder = AssetsBuilder::default();
        for key in ["10.0.0.1", "10.0.0.2", "02:00:5e:10:00:01"] {
            builder.add(key.parse().unwrap(), "", "", "", None).unwrap();
        }
        let assets = builder.build().unwrap();
        let mut seen = AssetsSeen::default();
        let mut add = |last: u8, mac: Option<[u8; 6]>, days: u64| {
            seen.add(&assets, IpAddr::from([10, 0, 0, last]), mac, days * DAY_NS);
            seen.count()
        };
        assert_eq!(add(1, None, 0), 1);
        assert_eq!(add(1, None, 30), 1);
        assert_eq!(add(9, None, 30), 1, "not on the list");
        assert_eq!(add(9, Some([2, 0, 0x5e, 0x10, 0, 1]), 30), 2);
        assert_eq!(add(2, None, 31), 1, "February");
        assert_eq!(add(1, None, 30), 2, "a little late");
    }
}
