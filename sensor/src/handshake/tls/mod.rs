//! TLS over any transport.
