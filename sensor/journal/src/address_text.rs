//! Whether a text that somebody typed names an address: such a text does not go into the audit.

use std::net::{IpAddr, SocketAddr};

/// Whether a text names the address of a client: an IP or a hardware address.
pub fn names_an_address(text: &str) -> bool {
    let is_ip = |word: &str| {
        let address = word.parse().or_else(|_| word.parse().map(|address: SocketAddr| address.ip()));
        address.is_ok_and(|address: IpAddr| !address.is_unspecified())
    };
    // A point or colon may end a sentence, or a `::` an address.
    let words = text.split(|c: char| !c.is_ascii_hexdigit() && !matches!(c, '.' | ':'));
    let mut words = words.map(|word| word.trim_matches('.'));
    words.any(|word| is_ip(word) || is_ip(word.trim_matches(':'))) || names_a_mac(text)
}

/// Six pairs of hexadecimal digits with `:` or `-` between them, or three groups of four with points.
fn names_a_mac(text: &str) -> bool {
    let is_in = |c: char, separators: &[char]| c.is_ascii_hexdigit() || separators.contains(&c);
    [(&[':', '-'][..], 6, 2), (&['.'], 3, 4)].into_iter().any(|(separators, groups, digits)| {
        text.split(|c: char| !is_in(c, separators)).any(|word| {
            let parts = word.trim_matches(separators).split(separators);
            parts.clone().count() == groups && parts.clone().all(|part| part.len() == digits)
        })
    })
}
