//! Where the data of contacts went, as far as a tap can tell it: the country of the server's address, the region in the
//! name, and whether it was encrypted.

use serde::{Deserialize, Serialize};

use crate::{Sighting, region};

/// Countries, and regions, kept at most.
pub const PLACES_MAX: usize = 8;

/// Where data went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destinations {
    /// Countries to which the servers' addresses are registered.
    pub countries: Vec<Box<str>>,
    /// Bytes server → client and back, by the region in the name; empty where the name has none.
    #[serde(default)]
    pub region_bytes: Vec<(Box<str>, u64, u64)>,
    /// Whether something was not encrypted.
    pub cleartext: bool,
    /// The country of the last contact, and the region with the place of its bytes: most contacts repeat them.
    #[serde(skip)]
    last_country: Option<[u8; 2]>,
    #[serde(skip)]
    last_region: Option<(&'static str, usize)>,
}

impl Destinations {
    /// Adds those of a sighting.
    pub fn add(&mut self, sighting: &Sighting<'_>) {
        self.cleartext |= sighting.is_cleartext;
        self.add_bytes(sighting);
        if let Some(country) = sighting.server_country {
            self.add_country(country);
        }
    }

    fn add_country(&mut self, country: &str) {
        let code = country.as_bytes().first_chunk().copied();
        if code.is_some() && code == self.last_country {
            return;
        }
        self.last_country = code.filter(|_| country.len() == 2);
        if self.countries.len() < PLACES_MAX && !self.countries.iter().any(|known| **known == *country) {
            self.countries.push(country.into());
        }
    }

    fn add_bytes(&mut self, sighting: &Sighting<'_>) {
        let (to_client, to_server) = (sighting.bytes_to_client, sighting.bytes_to_server);
        if to_client == 0 && to_server == 0 {
            return;
        }
        let region = region(sighting.name).map_or("", |(region, _)| region);
        let last = self.last_region.filter(|(last, _)| std::ptr::eq(*last, region)).map(|(_, place)| place);
        let place = last.or_else(|| self.region_bytes.iter().position(|(known, ..)| **known == *region));
        let place = place.unwrap_or(self.region_bytes.len());
        if place == self.region_bytes.len() {
            if place == PLACES_MAX {
                return;
            }
            self.region_bytes.push((region.into(), 0, 0));
        }
        self.last_region = Some((region, place));
        if let Some((_, all_to_client, all_to_server)) = self.region_bytes.get_mut(place) {
            *all_to_client = all_to_client.saturating_add(to_client);
            *all_to_server = all_to_server.saturating_add(to_server);
        }
    }
}
