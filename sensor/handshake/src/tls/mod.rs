//! TLS over any transport: the clear parts of both hellos and of the certificate. [`hello`] reads the hello's body wherever
//! it came from: [`records`] take it out of a TCP stream, `super::dtls` out of datagrams, `super::quic` out of CRYPTO
//! frames. Nothing is decrypted here.

pub mod certificate;
pub mod ech;
pub mod hello;
pub mod hello_stream;
pub mod ja4;
pub mod records;
pub mod server;

#[cfg(test)]
pub(crate) mod build;

pub use ech::{Ech, EchExtension};
pub use hello::{ClientHello, HelloError, HelloScan};
pub use hello_stream::{HELLO_HEADER_BYTES, HelloStart, HelloStep, HelloStream, hello_in_one_record};
pub use ja4::{Ja4, Ja4Raw, Ja4Transport};
pub use records::Stop;
pub use server::{ServerHello, ServerStep, ServerStream};

/// Whether a cipher suite, extension, group or version number is one of those that stand for nothing (RFC 8701 §2).
#[inline]
pub const fn is_grease(number: u16) -> bool {
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}

/// The two-byte numbers of a list; an odd last byte is left out.
#[inline]
fn numbers(list: &[u8]) -> impl Iterator<Item = u16> + Clone + '_ {
    list.as_chunks::<2>().0.iter().map(|&pair| u16::from_be_bytes(pair))
}
