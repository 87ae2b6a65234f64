//! What a flow says of itself in clear: TLS and QUIC hellos, DTLS, DNS, HTTP, SOCKS. Bytes in, facts out.

pub mod address_names;
pub mod dns;
pub mod dtls;
pub mod http;
pub mod prelude;
pub mod quic;
pub mod socks;
pub mod tls;
