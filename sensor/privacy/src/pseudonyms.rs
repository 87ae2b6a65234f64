//! The pseudonyms of one period, and ids that need its key.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipcrypt_rs::{Ipcrypt, IpcryptPfx};
use ring::hmac;
use vigie_judgement::{Client, Period, incident_id};

use crate::PeriodKey;
use crate::keys::{hex, unhex};

/// What begins the pseudonym of a hardware address.
const MAC: &str = "mac-";
/// What begins the pseudonym of a client that another tool named.
const NAME: &str = "name-";
/// Fills a hardware address to a block of the cipher. Another key gives it back by a chance of one in 2^80 only.
const MAC_PADDING: [u8; 10] = *b"vigie mac ";

/// The pseudonyms of one period.
pub struct Pseudonyms {
    period: Period,
    addresses: IpcryptPfx,
    macs: Ipcrypt,
    ids: hmac::Key,
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pseudonyms of {}", self.period)
    }
}

/// Why a pseudonym cannot be revealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevealError {
    /// It is none.
    #[error("not a pseudonym: it is an address, a network that ends in /64, or begins with mac- or name-")]
    NotAPseudonym,
    /// It was made with another key.
    #[error("the pseudonym was made with the key of another period or site")]
    OtherKey,
    /// A name cannot be computed from its pseudonym.
    #[error("a name that another tool gave a client cannot be computed from its pseudonym")]
    Name,
}

impl Pseudonyms {
    /// Those of a period's key.
    pub fn new(period: Period, key: &PeriodKey) -> Self {
        let mut addresses: [u8; IpcryptPfx::KEY_BYTES] = key.derive("addresses");
        // The cipher refuses a key of two equal halves; a derived one has them by a chance of one in 2^128.
        let (one, other) = addresses.split_at_mut(IpcryptPfx::KEY_BYTES / 2);
        if let (true, Some(first)) = (one == other, one.first_mut()) {
            *first ^= 1;
        }
        Self {
            period,
            addresses: IpcryptPfx::new(addresses),
            macs: Ipcrypt::new(key.derive("hardware addresses")),
            ids: hmac::Key::new(hmac::HMAC_SHA256, &key.derive::<32>("ids")),
        }
    }

    /// The period whose key they are made with.
    pub const fn period(&self) -> Period {
        self.period
    }

    /// The pseudonym of an address, of the same IP version. Addresses with the same first bits have pseudonyms with the
    /// same first bits.
    pub fn address(&self, address: IpAddr) -> IpAddr {
        // An IPv4 address in the form of an IPv6 one is the same client.
        self.addresses.encrypt_ipaddr(address.to_canonical())
    }

    /// The pseudonym of a client.
    pub fn client(&self, client: &Client) -> Client {
        match client {
            Client::Address(address) => Client::Address(self.address(*address)),
            Client::Prefix64(prefix) => {
                Client::Prefix64(first_64_bits(self.addresses.encrypt_ipaddr(network(*prefix))))
            }
            Client::Mac(mac) => Client::Name(self.mac(*mac).into()),
            Client::Name(name) => Client::Name(format!("{NAME}{}", self.hash("name", &[name])).into()),
        }
    }

    /// The pseudonym of a hardware address.
    pub fn mac(&self, mac: [u8; 6]) -> String {
        let mut block = [0; 16];
        for (place, byte) in block.iter_mut().zip(MAC_PADDING.into_iter().chain(mac)) {
            *place = byte;
        }
        let encrypted = self.macs.encrypt_ipaddr(IpAddr::V6(Ipv6Addr::from(block)));
        format!("{MAC}{}", hex(&octets(encrypted)))
    }

    /// An id of 16 hexadecimal digits for what these texts say.
    pub fn event_id(&self, parts: &[&str]) -> String {
        self.hash("event", parts)
    }

    /// The id of a flow; below 2^53, as JavaScript and jq read numbers.
    pub fn flow_id(&self, id: u64) -> u64 {
        self.number("flow", &[&id.to_string()]) >> 11
    }

    /// The id of an incident, in the form of one.
    pub fn incident_id(&self, id: &str) -> String {
        incident_id(&[&self.number("incident", &[id]).to_be_bytes()])
    }

    /// Who is behind a pseudonym, in the form in which clients are written without pseudonyms. Of addresses another key
    /// gives another answer: nothing in a pseudonym tells its period.
    ///
    /// # Errors
    /// It is no pseudonym, or one that this key does not reveal.
    pub fn reveal(&self, pseudonym: &str) -> Result<String, RevealError> {
        if let Some(digits) = pseudonym.strip_prefix(MAC) {
            let block: [u8; 16] =
                unhex(digits).and_then(|bytes| bytes.try_into().ok()).ok_or(RevealError::NotAPseudonym)?;
            let block = octets(self.macs.decrypt_ipaddr(IpAddr::V6(Ipv6Addr::from(block))));
            let mac = block.strip_prefix(&MAC_PADDING).and_then(|mac| mac.try_into().ok());
            return mac.map(|mac| Client::Mac(mac).to_string()).ok_or(RevealError::OtherKey);
        }
        if let Some(digits) = pseudonym.strip_prefix(NAME) {
            let is_one = digits.len() == 16 && unhex(digits).is_some();
            return Err(if is_one { RevealError::Name } else { RevealError::NotAPseudonym });
        }
        let (address, is_network) = match pseudonym.strip_suffix("/64") {
            Some(address) => (address, true),
            None => (pseudonym, false),
        };
        match (address.parse().map_err(|_| RevealError::NotAPseudonym)?, is_network) {
            (address, false) => Ok(self.addresses.decrypt_ipaddr(address).to_string()),
            (IpAddr::V6(prefix), true) if prefix.to_bits() as u64 == 0 => {
                let prefix = first_64_bits(self.addresses.decrypt_ipaddr(IpAddr::V6(prefix)));
                Ok(Client::Prefix64(prefix).to_string())
            }
            (_, true) => Err(RevealError::NotAPseudonym),
        }
    }

    fn hash(&self, purpose: &str, parts: &[&str]) -> String {
        format!("{:016x}", self.number(purpose, parts))
    }

    /// The first 64 bits of the HMAC, each part with its length before it.
    fn number(&self, purpose: &str, parts: &[&str]) -> u64 {
        let mut context = hmac::Context::with_key(&self.ids);
        for part in std::iter::once(&purpose).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// A network of 64 bits as the address that begins it.
fn network(prefix: u64) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(u128::from(prefix) << 64))
}

fn first_64_bits(address: IpAddr) -> u64 {
    (u128::from_be_bytes(octets(address)) >> 64) as u64
}

/// The block of a cipher that an address is: an IPv4 one is mapped (RFC 4291 §2.5.5.2).
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vigie_judgement::is_incident_id;

    fn pseudonyms(key: u8) -> Pseudonyms {
        let key = PeriodKey::parse(&format!("{key:02x}").repeat(32)).unwrap();
        Pseudonyms::new("2026-11".parse().unwrap(), &key)
    }

    fn same_bits(one: IpAddr, other: IpAddr) -> u32 {
        (u128::from_be_bytes(octets(one)) ^ u128::from_be_bytes(octets(other))).leading_zeros()
    }

    /// The vector of draft-denis-ipcrypt for the prefix-preserving mode.
    #[test]
    fn the_library_encrypts_as_the_draft_says() {
        let key = unhex("0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301").unwrap();
        let cipher = IpcryptPfx::new(key.try_into().unwrap());
        for (address, encrypted) in
            [("192.0.2.1", "100.115.72.131"), ("2001:db8::1", "c180:5dd4:2587:3524:30ab:fa65:6ab6:f88")]
        {
            assert_eq!(cipher.encrypt_ipaddr(address.parse().unwrap()).to_string(), encrypted);
        }
    }

    #[test]
    fn every_kind_of_client_has_a_pseudonym_that_does_not_name_it() {
        let pseudonyms = pseudonyms(7);
        for client in [
            Client::Address("10.20.0.7".parse().unwrap()),
            Client::Address("2001:db8:20::7".parse().unwrap()),
            Client::Prefix64(0x2001_0db8_0020_0001),
            Client::Mac([2, 0, 0x5e, 0x10, 0, 7]),
        ] {
            let pseudonym = pseudonyms.client(&client).to_string();
            assert_ne!(pseudonym, client.to_string());
            assert_eq!(pseudonyms.reveal(&pseudonym), Ok(client.to_string()));
            let by_other_key = super::tests::pseudonyms(8).reveal(&pseudonym);
            match client {
                Client::Mac(_) => assert_eq!(by_other_key, Err(RevealError::OtherKey)),
                _ => assert_ne!(by_other_key, Ok(client.to_string())),
            }
        }
        let name = pseudonyms.client(&Client::Name("phone of the minister".into())).to_string();
        assert!(name.starts_with("name-") && name.len() == 21 && !name.contains("minister"), "{name}");
        assert_eq!(pseudonyms.reveal(&name), Err(RevealError::Name));
        let mapped = pseudonyms.address("::ffff:10.20.0.7".parse().unwrap());
        assert_eq!(mapped, pseudonyms.address("10.20.0.7".parse().unwrap()));
    }

    #[test]
    fn other_texts_are_no_pseudonyms() {
        for text in
            ["", "mac-", "mac-00", "name-", "name-xyz", "10.20.0.0/16", "10.0.0.1/64", "2001:db8::1/64", "tiktok"]
        {
            assert_eq!(pseudonyms(7).reveal(text), Err(RevealError::NotAPseudonym), "{text}");
        }
        let other = format!("mac-{}", "0".repeat(32));
        assert_eq!(pseudonyms(7).reveal(&other), Err(RevealError::OtherKey));
    }

    #[test]
    fn ids_need_the_key() {
        let (one, other) = (pseudonyms(1), pseudonyms(2));
        assert_eq!(one.flow_id(5), pseudonyms(1).flow_id(5));
        assert_ne!(one.flow_id(5), other.flow_id(5));
        assert_ne!(one.event_id(&["a", "b"]), other.event_id(&["a", "b"]));
        assert_ne!(one.event_id(&["a", "b"]), one.event_id(&["ab", ""]));
        let id = incident_id(&[b"10.0.0.1"]);
        assert!(is_incident_id(&one.incident_id(&id)));
        assert!(one.incident_id(&id) != id && one.incident_id(&id) != other.incident_id(&id));
    }

    proptest! {
        #[test]
        fn addresses_come_back_and_networks_stay_networks(one: u32, other: u32) {
            let pseudonyms = pseudonyms(3);
            let [one, other] = [one, other].map(|bits| IpAddr::V4(bits.into()));
            let (of_one, of_other) = (pseudonyms.address(one), pseudonyms.address(other));
            prop_assert!(of_one.is_ipv4());
            prop_assert_eq!(same_bits(one, other), same_bits(of_one, of_other));
            prop_assert_eq!(pseudonyms.reveal(&of_one.to_string()), Ok(one.to_string()));
        }

        #[test]
        fn so_do_those_of_version_6(one: u128, other: u64) {
            let pseudonyms = pseudonyms(4);
            let (one, other) = (IpAddr::V6(one.into()), IpAddr::V6((one ^ u128::from(other)).into()));
            prop_assume!(one.to_canonical().is_ipv6() && other.to_canonical().is_ipv6());
            let (of_one, of_other) = (pseudonyms.address(one), pseudonyms.address(other));
            prop_assert_eq!(same_bits(one, other), same_bits(of_one, of_other));
            prop_assert_eq!(pseudonyms.reveal(&of_one.to_string()), Ok(one.to_string()));
        }

        #[test]
        fn flow_ids_are_numbers_of_53_bits(id: u64) {
            prop_assert!(pseudonyms(5).flow_id(id) < 1 << 53);
        }

        #[test]
        fn any_text_is_revealed_or_refused(text in ".{0,60}") {
            let _ = pseudonyms(6).reveal(&text);
        }
    }
}
