//! Encrypted Client Hello as seen from outside (RFC 9849), and the likelihood that it is GREASE (§6.2), which a client
//! sends that has no configuration for the server so that the extension is on every hello.

use super::hello::extension;
use vigie_wire::Cursor;

/// What an ECH extension tells about the name beside it.
///
/// RFC 9849 §10.10.4 wants GREASE to look like the real thing, and one hello alone cannot tell them apart for sure. With real
/// ECH the server name in clear is the configuration's public name (a provider's, not the service's); with GREASE it
/// is the true one. So a listener that knows public names does better: a public name under [`Ech::Ambiguous`] is ECH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ech {
    /// Its shape is one that clients send without a configuration, and that real ECH does not have.
    Grease,
    /// Its shape is that of Chrome's GREASE, and of a real hello of the same size too. GREASE is far more common.
    Ambiguous,
    /// Its shape is no known client's GREASE: taken for real.
    Offered,
}

/// The extension, in one of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchExtension {
    /// On the outer hello, with the inner one encrypted (RFC 9849 §5).
    Outer {
        /// HPKE key derivation; 1 is HKDF-SHA256.
        kdf: u16,
        /// HPKE encryption; 1 is AES-128-GCM, 3 is ChaCha20-Poly1305.
        aead: u16,
        /// Which of the server's configurations; any number in GREASE.
        config_id: u8,
        /// Bytes of the encapsulated key; 0 on a second hello.
        enc_bytes: u16,
        /// Bytes of the encrypted inner hello, tag included.
        payload_bytes: u16,
    },
    /// On an inner hello, which only a server that serves itself sees in clear.
    Inner,
    /// A draft's form, under this code point.
    Draft(u16),
    /// The server name alone encrypted, as in the first drafts.
    Esni,
    /// It does not parse.
    Malformed,
}

/// HKDF-SHA256 (RFC 9180 §7.2).
const KDF_HKDF_SHA256: u16 = 1;
/// AES-128-GCM and ChaCha20-Poly1305 (RFC 9180 §7.3), both with tags of 16 bytes.
const AEADS: [u16; 2] = [1, 3];
const TAG_BYTES: u16 = 16;
/// The inner hello is padded to a multiple of this (RFC 9849 §6.1.3).
const PADDING_BYTES: u16 = 32;
/// An X25519 key.
const ENC_BYTES: u16 = 32;
/// Payloads of BoringSSL's GREASE: 4 to 7 times 32 bytes, and the tag.
const CHROME_PAYLOAD_BYTES: [u16; 4] = [144, 176, 208, 240];

impl EchExtension {
    /// Whether an extension number is ECH's or was one of its drafts'.
    #[inline]
    pub const fn is_code_point(kind: u16) -> bool {
        kind >= 0xfe08 && matches!(kind, 0xfe08..=0xfe0d | 0xff02 | 0xff03 | extension::ENCRYPTED_SERVER_NAME)
    }

    /// Reads the data of extension `kind`.
    pub fn parse(kind: u16, data: &[u8]) -> Self {
        match kind {
            extension::ENCRYPTED_CLIENT_HELLO => Self::parse_standard(data).unwrap_or(Self::Malformed),
            extension::ENCRYPTED_SERVER_NAME => Self::Esni,
            _ => Self::Draft(kind),
        }
    }

    fn parse_standard(data: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(data);
        match cursor.u8()? {
            0 => {
                let (kdf, aead, config_id) = (cursor.u16()?, cursor.u16()?, cursor.u8()?);
                // Both lengths came from sixteen bits.
                let enc_bytes = cursor.vector16()?.len() as u16;
                let payload_bytes = cursor.vector16()?.len() as u16;
                cursor.is_empty().then_some(Self::Outer { kdf, aead, config_id, enc_bytes, payload_bytes })
            }
            1 => cursor.is_empty().then_some(Self::Inner),
            _ => None,
        }
    }

    /// Judges by shape alone whether this is GREASE.
    ///
    /// * A payload that is not a multiple of 32 and a tag cannot come from a client that pads as RFC 9849 §6.1.3 says.
    ///   Firefox's GREASE (239 bytes) is such; so would be real ECH of a client that pads otherwise.
    /// * An empty encapsulated key stands on the second hello of real ECH (§6.1.5); GREASE repeats its first (§6.2).
    /// * BoringSSL's GREASE takes a payload of 144, 176, 208 or 240 bytes, and a real inner hello fits in the same.
    /// * What else parses is taken for real, GREASE of clients that build it from their true hello included.
    pub fn judge(&self) -> Ech {
        let Self::Outer { kdf, aead, enc_bytes, payload_bytes, .. } = *self else { return Ech::Offered };
        if enc_bytes == 0 {
            return Ech::Offered;
        }
        let padded = payload_bytes.checked_sub(TAG_BYTES).is_some_and(|inner| inner > 0 && inner % PADDING_BYTES == 0);
        if !padded {
            return Ech::Grease;
        }
        let as_chrome = kdf == KDF_HKDF_SHA256 && AEADS.contains(&aead) && enc_bytes == ENC_BYTES;
        if as_chrome && CHROME_PAYLOAD_BYTES.contains(&payload_bytes) { Ech::Ambiguous } else { Ech::Offered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::build::ech_outer;

    fn judged(data: &[u8]) -> Ech {
        EchExtension::parse(extension::ENCRYPTED_CLIENT_HELLO, data).judge()
    }

    #[test]
    fn the_outer_form_is_read_to_its_end() {
        let data = ech_outer(1, 3, 32, 176);
        let outer = EchExtension::Outer { kdf: 1, aead: 3, config_id: 0x5a, enc_bytes: 32, payload_bytes: 176 };
        assert_eq!(EchExtension::parse(0xfe0d, &data), outer);
        for cut in 0..data.len() {
            assert_eq!(EchExtension::parse(0xfe0d, &data[..cut]), EchExtension::Malformed, "cut at {cut}");
        }
        let longer = [&data[..], &[0]].concat();
        assert_eq!(EchExtension::parse(0xfe0d, &longer), EchExtension::Malformed);
        assert_eq!(EchExtension::parse(0xfe0d, &[1]), EchExtension::Inner);
        assert_eq!(EchExtension::parse(0xfe0d, &[2]), EchExtension::Malformed);
        assert_eq!(EchExtension::parse(0xfe0a, &[]), EchExtension::Draft(0xfe0a));
        assert_eq!(EchExtension::parse(0xffce, &[]), EchExtension::Esni);
    }

    #[test]
    fn shapes_are_judged_as_documented() {
        for payload in [144, 176, 208, 240] {
            assert_eq!(judged(&ech_outer(1, 1, 32, payload)), Ech::Ambiguous, "Chrome, {payload}");
        }
        assert_eq!(judged(&ech_outer(1, 1, 32, 239)), Ech::Grease, "Firefox");
        assert_eq!(judged(&ech_outer(1, 1, 32, 16)), Ech::Grease, "an empty inner hello");
        assert_eq!(judged(&ech_outer(1, 1, 32, 272)), Ech::Offered, "longer than any GREASE of Chrome");
        assert_eq!(judged(&ech_outer(2, 2, 65, 176)), Ech::Offered, "another suite");
        assert_eq!(judged(&ech_outer(1, 1, 0, 239)), Ech::Offered, "second hello");
        assert_eq!(judged(&[1]), Ech::Offered);
    }

    #[test]
    fn only_its_own_code_points_are_ech() {
        assert!(EchExtension::is_code_point(0xfe0d) && EchExtension::is_code_point(0xffce));
        for other in [0, 16, 43, 0xfe07, 0xfe0e, 0xff01, 0xfd00] {
            assert!(!EchExtension::is_code_point(other), "{other:#x}");
        }
    }
}
