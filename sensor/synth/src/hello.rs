//! Hellos of TLS 1.3: ClientHellos (RFC 8446 §4.1.2) as browsers and libraries send them, with a post-quantum key share
//! (X25519MLKEM768, draft-ietf-tls-ecdhe-mlkem) or without, and the server's answer.

use super::random::Random;

/// The transport of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over<'i> {
    Tcp,
    /// With the client's own connection id.
    Quic(&'i [u8]),
}

/// Bytes of the client's X25519MLKEM768 share: an encapsulation key and an X25519 key.
const POST_QUANTUM_SHARE_BYTES: usize = 1184 + 32;
/// Browsers pad a short hello to this length, because some servers fail on 256 to 511 bytes (RFC 7685 §1).
const PADDED_BYTES: usize = 512;

/// The handshake message with its header.
pub(super) fn message(name: &str, over: Over<'_>, is_post_quantum: bool, random: &mut Random) -> Vec<u8> {
    // Chromium-based clients send GREASE values (RFC 8701) and shuffle their extensions.
    let is_chrome = is_post_quantum && !random.once_in(4) || random.once_in(3);
    let grease = is_chrome.then(|| {
        let nibble = random.below(16) as u16;
        nibble << 12 | nibble << 4 | 0x0a0a
    });
    let mut body = vec![3, 3];
    body.extend(random.bytes::<32>());
    match over {
        Over::Tcp => {
            body.push(32);
            body.extend(random.bytes::<32>());
        }
        Over::Quic(_) => body.push(0),
    }
    push_list(&mut body, &cipher_suites(over, grease));
    body.extend([1, 0]);
    let mut extensions = extensions(name, over, is_post_quantum, grease, random);
    if is_chrome {
        random.shuffle(&mut extensions);
    }
    if let Some(grease) = grease {
        extensions.insert(0, (grease, Vec::new()));
        extensions.push((grease ^ 0x1010, vec![0]));
    }
    if over == Over::Tcp {
        pad(&body, &mut extensions);
    }
    finish(body, extensions)
}

/// Pads a hello that has so many bytes that some servers would fail on it.
pub(super) fn pad(body: &[u8], extensions: &mut Vec<(u16, Vec<u8>)>) {
    let length = body.len() + 4 + 2 + extensions.iter().map(|(_, data)| data.len() + 4).sum::<usize>();
    if (256..PADDED_BYTES).contains(&length) {
        extensions.push((21, vec![0; PADDED_BYTES.saturating_sub(length + 4)]));
    }
}

/// The message of a body up to its compression methods, and of extensions.
pub(super) fn finish(mut body: Vec<u8>, extensions: Vec<(u16, Vec<u8>)>) -> Vec<u8> {
    let mut written = Vec::new();
    for (kind, data) in extensions {
        written.extend(kind.to_be_bytes());
        push_vector(&mut written, &data);
    }
    push_vector(&mut body, &written);
    let [_, high, middle, low] = (body.len() as u32).to_be_bytes();
    [&[1, high, middle, low][..], &body].concat()
}

/// A ServerHello message that takes X25519 (RFC 8446 §4.1.3).
pub(super) fn answer(session_id: &[u8], random: &mut Random) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(random.bytes::<32>());
    body.push(session_id.len() as u8);
    body.extend(session_id);
    body.extend([0x13, 1, 0, 0, 46, 0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 0x1d, 0, 32]);
    body.extend(random.bytes::<32>());
    [&[2, 0, 0, body.len() as u8][..], &body].concat()
}

fn cipher_suites(over: Over<'_>, grease: Option<u16>) -> Vec<u16> {
    const OLDER: [u16; 12] =
        [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035];
    let older: &[u16] = if over == Over::Tcp { &OLDER } else { &[] };
    grease.into_iter().chain([0x1301, 0x1302, 0x1303]).chain(older.iter().copied()).collect()
}

fn extensions(
    name: &str,
    over: Over<'_>,
    is_post_quantum: bool,
    grease: Option<u16>,
    random: &mut Random,
) -> Vec<(u16, Vec<u8>)> {
    let mut list = vec![
        (0, server_name(name)),
        (10, numbers(grease.into_iter().chain(is_post_quantum.then_some(0x11ec)).chain([0x001d, 0x0017, 0x0018]))),
        (13, numbers([0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601].into_iter())),
        (16, alpn(if over == Over::Tcp { &["h2", "http/1.1"] } else { &["h3"] })),
        (27, vec![2, 0, 2]),
        (45, vec![1, 1]),
        (51, key_shares(is_post_quantum, grease, random)),
    ];
    match over {
        Over::Tcp => {
            list.push((5, vec![1, 0, 0, 0, 0]));
            list.push((11, vec![1, 0]));
            list.push((18, Vec::new()));
            list.push((23, Vec::new()));
            list.push((35, Vec::new()));
            list.push((43, [&[if grease.is_some() { 6 } else { 4 }][..], &versions(grease)].concat()));
            list.push((0xff01, vec![0]));
        }
        Over::Quic(client_id) => {
            list.push((43, vec![2, 3, 4]));
            list.push((57, transport_parameters(client_id, random)));
        }
    }
    if grease.is_some() {
        list.push((0xfe0d, greased_ech(random)));
    }
    list
}

pub(super) fn versions(grease: Option<u16>) -> Vec<u8> {
    grease.into_iter().chain([0x0304, 0x0303]).flat_map(u16::to_be_bytes).collect()
}

pub(super) fn key_shares(is_post_quantum: bool, grease: Option<u16>, random: &mut Random) -> Vec<u8> {
    let mut shares = Vec::new();
    if let Some(grease) = grease {
        shares.extend(grease.to_be_bytes());
        shares.extend([0, 1, 0]);
    }
    if is_post_quantum {
        shares.extend([0x11, 0xec]);
        shares.extend((POST_QUANTUM_SHARE_BYTES as u16).to_be_bytes());
        random.noise(POST_QUANTUM_SHARE_BYTES, &mut shares);
    }
    shares.extend([0, 0x1d, 0, 32]);
    shares.extend(random.bytes::<32>());
    vector(&shares)
}

/// The Encrypted Client Hello of a client that has no key for the server (RFC 9849 §6.2).
pub(super) fn greased_ech(random: &mut Random) -> Vec<u8> {
    let mut ech = vec![0, 0, 1, 0, 1];
    ech.push(random.number() as u8);
    push_vector(&mut ech, &random.bytes::<32>());
    let mut payload = Vec::new();
    let steps = random.below(4);
    random.noise(144 + 32 * steps, &mut payload);
    push_vector(&mut ech, &payload);
    ech
}

/// Transport parameters that most clients send (RFC 9000 §18.2).
pub(super) fn transport_parameters(client_id: &[u8], random: &mut Random) -> Vec<u8> {
    let mut parameters = vec![0x01, 4, 0x80, 0, 0x75, 0x30, 0x03, 2, 0x45, 0xc0];
    for limit in [0x04, 0x05, 0x06, 0x07] {
        parameters.extend([limit, 4, 0x80, 0x60, 0, 0]);
    }
    parameters.extend([0x08, 2, 0x40, 0x64, 0x09, 2, 0x40, 0x67]);
    // A reserved one, which readers must ignore (§18.1).
    parameters.extend([27, 4]);
    parameters.extend(random.bytes::<4>());
    parameters.extend([0x0f, client_id.len() as u8]);
    parameters.extend(client_id);
    parameters
}

pub(super) fn server_name(name: &str) -> Vec<u8> {
    let entry = [&[0][..], &vector(name.as_bytes())].concat();
    vector(&entry)
}

pub(super) fn alpn(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = protocols.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
    vector(&list)
}

pub(super) fn numbers(numbers: impl Iterator<Item = u16>) -> Vec<u8> {
    vector(&numbers.flat_map(u16::to_be_bytes).collect::<Vec<u8>>())
}

pub(super) fn push_list(out: &mut Vec<u8>, numbers: &[u16]) {
    push_vector(out, &numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>());
}

/// Bytes behind their length in two bytes.
pub(super) fn vector(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 2);
    push_vector(&mut out, data);
    out
}

pub(super) fn push_vector(out: &mut Vec<u8>, data: &[u8]) {
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_handshake::tls::ClientHello;

    #[test]
    fn hellos_are_read_as_they_were_meant() {
        let mut random = Random::new(3);
        for round in 0..400 {
            let (over, is_post_quantum) = (if round % 2 == 0 { Over::Tcp } else { Over::Quic(&[7; 8]) }, round % 4 < 2);
            let message = message("www.example.com", over, is_post_quantum, &mut random);
            let hello = ClientHello::parse(&message[4..], message.len() - 4).unwrap();
            assert!(hello.is_complete());
            assert_eq!(hello.server_name(), Some(&b"www.example.com"[..]));
            assert_eq!(hello.highest_version(), 0x0304);
            assert_eq!(hello.is_post_quantum(), is_post_quantum);
            assert_eq!(hello.alpn().next(), Some(if over == Over::Tcp { &b"h2"[..] } else { b"h3" }));
            let sizes = match (over, is_post_quantum) {
                (Over::Tcp, true) => 1_500..1_900,
                (Over::Tcp, false) => 500..640,
                (Over::Quic(_), true) => 1_400..1_800,
                (Over::Quic(_), false) => 200..560,
            };
            assert!(sizes.contains(&message.len()), "{} {over:?} {is_post_quantum}", message.len());
        }
    }
}
