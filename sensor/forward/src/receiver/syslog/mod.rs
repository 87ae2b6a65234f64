//! Syslog (RFC 5424): over UDP (RFC 5426), over TCP with octet counting (RFC 6587 section 3.4.1), over TLS (RFC 5425).

mod datagram;
mod message;
mod stream;
mod unsent;

pub use datagram::SyslogDatagrams;
pub use stream::StreamReceiver;
