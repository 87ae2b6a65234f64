//! In which country an address is registered, from a table built into the program. It is where a regional registry
//! assigned the range, not where a machine is: content networks answer from elsewhere.

use std::net::IpAddr;

/// ISO 3166-1 alpha-2 code of the country to which the address is assigned; `None` for private and unassigned ones.
pub fn country(address: IpAddr) -> Option<&'static str> {
    iptocc::country_code(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_assigned_ranges_and_no_others() {
        assert_eq!(country("8.8.8.8".parse().unwrap()), Some("US"));
        assert_eq!(country("2001:4860:4860::8888".parse().unwrap()), Some("US"));
        assert_eq!(country("193.0.6.139".parse().unwrap()), Some("NL"));
        for private in ["10.1.2.3", "192.168.1.1", "127.0.0.1", "fe80::1", "fd00::1"] {
            assert_eq!(country(private.parse().unwrap()), None, "{private}");
        }
    }
}
