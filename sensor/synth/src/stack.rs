//! ClientHellos of programs whose JA4 is signature data: a current browser, and the application's own network stack.

use super::hello::{self, Over, alpn, greased_ech, key_shares, numbers, push_list, server_name, vector};
use super::random::Random;

/// Whose hello it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    /// Chrome 143 over TCP, Chromium 156 over QUIC.
    Browser,
    /// TTNet, a fork of Cronet 107, over TCP only.
    App,
}

/// Shared by browser and application, without the TLS 1.3 ones.
const CIPHER_SUITES: [u16; 12] =
    [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035];
const CIPHER_SUITES_TLS_1_3: [u16; 3] = [0x1301, 0x1302, 0x1303];
const SIGNATURE_ALGORITHMS: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
/// Chromium adds it over QUIC.
const RSA_PKCS1_SHA1: u16 = 0x0201;
/// Application settings, and their code point before 2025 (draft-vvv-tls-alps).
const APPLICATION_SETTINGS: u16 = 0x44cd;
const APPLICATION_SETTINGS_OLD: u16 = 0x4469;
/// Trust anchor identifiers (draft-ietf-tls-trust-anchor-ids).
const TRUST_ANCHORS: u16 = 0xca34;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// Bytes of a session ticket, and of its binder (RFC 8446 §4.2.11).
const TICKET_BYTES: usize = 192;
const BINDER_BYTES: usize = 32;
/// One hello of an application in this many resumes a session.
const RESUMED_ONE_IN: usize = 6;

/// The handshake message with its header.
pub(super) fn message(stack: Stack, name: &str, over: Over<'_>, random: &mut Random) -> Vec<u8> {
    let nibble = random.below(16) as u16;
    let grease = nibble << 12 | nibble << 4 | 0x0a0a;
    let mut body = vec![3, 3];
    body.extend(random.bytes::<32>());
    match over {
        Over::Tcp => {
            body.push(32);
            body.extend(random.bytes::<32>());
        }
        Over::Quic(_) => body.push(0),
    }
    let older: &[u16] = if over == Over::Tcp { &CIPHER_SUITES } else { &[] };
    let suites: Vec<u16> = [grease].into_iter().chain(CIPHER_SUITES_TLS_1_3).chain(older.iter().copied()).collect();
    push_list(&mut body, &suites);
    body.extend([1, 0]);
    let is_browser = stack == Stack::Browser;
    let mut extensions = extensions(is_browser, name, over, grease, random);
    if is_browser {
        random.shuffle(&mut extensions);
    }
    extensions.insert(0, (grease, Vec::new()));
    extensions.push((grease ^ 0x1010, vec![0]));
    if !is_browser && random.once_in(RESUMED_ONE_IN) {
        extensions.push((41, pre_shared_key(random)));
    } else if !is_browser {
        hello::pad(&body, &mut extensions);
    }
    hello::finish(body, extensions)
}

fn extensions(is_browser: bool, name: &str, over: Over<'_>, grease: u16, random: &mut Random) -> Vec<(u16, Vec<u8>)> {
    let post_quantum = is_browser.then_some(0x11ec);
    let groups = [grease].into_iter().chain(post_quantum).chain([0x001d, 0x0017, 0x0018]);
    let mut list = vec![(0, server_name(name))];
    if over == Over::Tcp {
        list.extend([(23, Vec::new()), (0xff01, vec![0])]);
    }
    list.push((10, numbers(groups)));
    if over == Over::Tcp {
        list.extend([(11, vec![1, 0]), (35, Vec::new())]);
    }
    let (protocols, settings): (&[&str], &[u8]) = match over {
        Over::Tcp => (&["h2", "http/1.1"], b"\x02h2"),
        Over::Quic(_) => (&["h3"], b"\x02h3"),
    };
    list.push((16, alpn(protocols)));
    if over == Over::Tcp {
        list.push((5, vec![1, 0, 0, 0, 0]));
    }
    let more = (over != Over::Tcp).then_some(RSA_PKCS1_SHA1);
    list.push((13, numbers(SIGNATURE_ALGORITHMS.into_iter().chain(more))));
    if over == Over::Tcp {
        list.push((18, Vec::new()));
    }
    list.push((51, key_shares(is_browser, Some(grease), random)));
    list.push((45, vec![1, 1]));
    match over {
        Over::Tcp => list.push((43, [&[6][..], &hello::versions(Some(grease))].concat())),
        Over::Quic(client_id) => {
            list.push((43, vec![2, 3, 4]));
            list.push((57, hello::transport_parameters(client_id, random)));
            list.push((TRUST_ANCHORS, vec![0, 0]));
        }
    }
    list.push((27, vec![2, 0, 2]));
    list.push((if is_browser { APPLICATION_SETTINGS } else { APPLICATION_SETTINGS_OLD }, vector(settings)));
    if is_browser {
        list.push((ENCRYPTED_CLIENT_HELLO, greased_ech(random)));
    }
    list
}

/// One ticket and its binder (RFC 8446 §4.2.11).
fn pre_shared_key(random: &mut Random) -> Vec<u8> {
    let mut ticket = Vec::new();
    random.noise(TICKET_BYTES, &mut ticket);
    let mut identity = vector(&ticket);
    identity.extend(random.bytes::<4>());
    let mut out = vector(&identity);
    let mut binder = vec![BINDER_BYTES as u8];
    binder.extend(random.bytes::<BINDER_BYTES>());
    out.extend(vector(&binder));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_handshake::tls::{ClientHello, Ja4, Ja4Transport};

    #[test]
    fn fingerprints_are_those_of_the_signature_data() {
        let mut random = Random::new(5);
        for round in 0..60 {
            let (stack, over, expected): (_, _, &[&str]) = match round % 3 {
                0 => (Stack::Browser, Over::Tcp, &["t13d1516h2_8daaf6152771_d8a2da3f94cd"]),
                1 => (Stack::Browser, Over::Quic(&[7; 8]), &["q13d0312h3_55b375c5d22e_178839b6cec1"]),
                _ => (
                    Stack::App,
                    Over::Tcp,
                    &["t13d1516h2_8daaf6152771_e5627efa2ab1", "t13d1516h2_8daaf6152771_9b887d9acb53"],
                ),
            };
            let message = message(stack, "www.example.com", over, &mut random);
            let hello = ClientHello::parse(&message[4..], message.len() - 4).unwrap();
            assert!(hello.is_complete());
            assert_eq!(hello.server_name(), Some(&b"www.example.com"[..]));
            let transport = if over == Over::Tcp { Ja4Transport::Tcp } else { Ja4Transport::Quic };
            let ja4 = Ja4::of(&hello, transport).unwrap();
            assert!(expected.contains(&ja4.as_str()), "{}", ja4.as_str());
        }
    }
}
