//! Rows of QUIC datagrams. What is made up at random never opens, so a script can have its bytes sealed as the frames of
//! a version 1 Initial (RFC 9001 §5).

use ring::aead::{self, quic};
use ring::hkdf;
use vigie_decode::{NetworkHeader, UdpDatagram};
use vigie_flow::Side;
use vigie_handshake::quic::{
    CONNECTIONS_MAX, Connection, Progress, QuicCounters, QuicLimits, Scratch, looks_like_quic,
};
use vigie_handshake::tls::{ClientHello, HelloScan};
use vigie_handshake::udp::{Hello, Lent, UdpInspector};
use vigie_handshake::{Counts, Limits};

use super::input::Input;
use super::tls;

thread_local! {
    /// A worker has one; it must serve any connection after any other.
    static SCRATCH: std::cell::RefCell<Scratch> = std::cell::RefCell::new(Scratch::new());
}

/// A script: each step is a datagram as it stands, a sealed packet, a sealed packet damaged, or two in one datagram.
pub fn datagrams(data: &[u8]) {
    let limits = QuicLimits { crypto_bytes_max: 2048, attempts_max: 8, ..QuicLimits::default() };
    let mut counters = QuicCounters::default();
    let mut connection = Connection::default();
    let mut input = Input::new(data);
    let mut number = 0_u16;
    SCRATCH.with_borrow_mut(|scratch| {
        while !input.is_empty() {
            let control = input.u8();
            number = number.wrapping_add(1);
            let id = [control >> 6; 8];
            let datagram = match control & 3 {
                0 => input.chunk().to_vec(),
                1 => seal(&id, number, input.chunk()),
                2 => {
                    let mut packet = seal(&id, number, input.chunk());
                    let at = usize::from(input.u16()) % packet.len();
                    packet[at] ^= control | 1;
                    packet
                }
                _ => [seal(&id, number, input.chunk()), seal(&[control; 8], number, input.chunk())].concat(),
            };
            let _ = looks_like_quic(&datagram);
            let side = if control & 8 == 0 { Side::Low } else { Side::High };
            check(&connection.datagram(side, &datagram, scratch, &limits, &mut counters));
            check(&connection.more());
            // Buffers of what is kept, grown by doubling, for each version of each connection's stream, and the spare one.
            let streams_max = (CONNECTIONS_MAX + 1) * limits.stream_versions_max;
            assert!(connection.memory_bytes() <= streams_max * (2 * limits.crypto_bytes_max + 8192));
            if control & 0x3c == 0x3c {
                connection.reset();
            }
        }
    });
    assert!(counters.opened <= counters.initials);
}

/// A script of datagrams of both sides of a flow, some with a wrong checksum: sealed Initials, or as they stand.
pub fn flow(data: &[u8]) {
    const NETWORK: [u8; 20] = *b"\x45\0\0\0\0\0\0\0\x40\x11\0\0\x0a\0\0\x01\xc0\0\x02\x50";
    let limits = Limits {
        hello_bytes_max: 2048,
        quic: QuicLimits { crypto_bytes_max: 2048, attempts_max: 8, ..QuicLimits::default() },
        ..Limits::default()
    };
    let (mut counts, mut inspector, mut hellos) = (Counts::default(), UdpInspector::default(), 0);
    let mut input = Input::new(data);
    let mut number = 0_u16;
    SCRATCH.with_borrow_mut(|scratch| {
        while !input.is_empty() && !inspector.is_done() {
            let control = input.u8();
            number = number.wrapping_add(1);
            let payload = match control & 1 {
                0 => input.chunk().to_vec(),
                _ => seal(&[control >> 6; 8], number, input.chunk()),
            };
            let [high, low] = (8 + payload.len() as u16).to_be_bytes();
            let header = [0, 1, 1, 0xbb, high, low, 0, control & 2];
            let datagram = UdpDatagram::new(&header, &payload, NetworkHeader::new(&NETWORK));
            let side = if control & 4 == 0 { Side::Low } else { Side::High };
            let mut lent = Lent { scratch, limits: &limits, counts: &mut counts, is_rewritten: false };
            inspector.datagram(side, &datagram, &mut lent, &mut |hello, _| {
                hellos += 1;
                if let Hello::Quic(_, hello) | Hello::Dtls(hello) = hello {
                    tls::tell(hello);
                }
            });
            assert!(hellos <= limits.udp_hellos_max);
        }
    });
    SCRATCH.with_borrow_mut(|scratch| {
        let mut lent = Lent { scratch, limits: &limits, counts: &mut counts, is_rewritten: false };
        inspector.finish(&mut lent, &mut |_, _| hellos += 1);
    });
    assert!(hellos <= limits.udp_hellos_max);
}

fn check(progress: &Progress<'_>) {
    match progress {
        Progress::Hello(hello) => {
            assert!(hello.message.len() <= hello.announced);
            assert_eq!(hello.complete, hello.message.len() == hello.announced);
            if let Ok(hello) = ClientHello::parse(hello.message, hello.announced) {
                tls::tell(&hello);
            }
            let _ = HelloScan::default().advance(hello.message, hello.announced);
        }
        Progress::Chlo(chlo) => {
            let _ = (chlo.sni(), chlo.user_agent(), chlo.first_version(), chlo.proof_demand(), chlo.complete());
        }
        Progress::NotQuic | Progress::Nothing | Progress::GivenUp => {}
    }
}

/// A client's first packet to `id` with these frames.
fn seal(id: &[u8; 8], number: u16, frames: &[u8]) -> Vec<u8> {
    const SALT: [u8; 20] = [
        0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb,
        0x7f, 0x0a,
    ];
    let initial = hkdf::Salt::new(hkdf::HKDF_SHA256, &SALT).extract(id);
    let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &expand::<32>(&initial, b"client in"));
    let mut nonce: [u8; 12] = expand(&secret, b"quic iv");
    nonce[10] ^= (number >> 8) as u8;
    nonce[11] ^= number as u8;
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, &expand::<16>(&secret, b"quic key")).expect("a key");
    let protection = quic::HeaderProtectionKey::new(&quic::AES_128, &expand::<16>(&secret, b"quic hp")).expect("a key");

    // Long header with a number of two bytes; frames padded so that there is a sample.
    let mut frames = frames[..frames.len().min(8192)].to_vec();
    frames.resize(frames.len().max(4), 0);
    let mut packet = vec![0xc1, 0, 0, 0, 1, 8];
    packet.extend_from_slice(id);
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&(0x4000 | (frames.len() + 2 + 16) as u16).to_be_bytes());
    let number_at = packet.len();
    packet.extend_from_slice(&number.to_be_bytes());
    let tag = aead::LessSafeKey::new(key)
        .seal_in_place_separate_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(&packet), &mut frames)
        .expect("a sealed packet");
    packet.extend_from_slice(&frames);
    packet.extend_from_slice(tag.as_ref());
    let mask = protection.new_mask(&packet[number_at + 4..number_at + 20]).expect("a mask");
    packet[0] ^= mask[0] & 0x0f;
    packet[number_at] ^= mask[1];
    packet[number_at + 1] ^= mask[2];
    packet
}

/// HKDF-Expand-Label (RFC 8446 §7.1) without context.
fn expand<const N: usize>(secret: &hkdf::Prk, label: &[u8]) -> [u8; N] {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let prefix = [0, N as u8, label.len() as u8 + 6];
    let info = [&prefix[..], b"tls13 ", label, &[0]];
    let mut bytes = [0; N];
    secret.expand(&info, Length(N)).and_then(|okm| okm.fill(&mut bytes)).expect("a few bytes of key");
    bytes
}

/// Without this the target would look at nothing but failed openings.
#[test]
fn what_is_sealed_here_opens_there() {
    let hello = [&[6, 0, 0x40, 54, 1, 0, 0, 50, 3, 3][..], &[0; 48]].concat();
    let mut connection = Connection::default();
    let (mut scratch, mut counters) = (Scratch::new(), QuicCounters::default());
    let packet = seal(&[7; 8], 1, &hello);
    let progress = connection.datagram(Side::Low, &packet, &mut scratch, &QuicLimits::default(), &mut counters);
    assert!(matches!(progress, Progress::Hello(hello) if hello.complete && hello.message.len() == 50), "{progress:?}");
}
