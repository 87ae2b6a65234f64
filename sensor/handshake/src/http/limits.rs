//! How much is read of a connection.

/// Bounds on what is read of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of one request's head.
    pub head_bytes_max: usize,
    /// Requests of one connection.
    pub requests_max: usize,
    /// Different hosts kept of one connection, so that each is reported once.
    pub hosts_max: usize,
    /// Segments without a request, while it is not known where one begins, after which a connection is given up.
    pub lost_segments_max: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { head_bytes_max: 256 * 1024, requests_max: 10_000, hosts_max: 64, lost_segments_max: 4_096 }
    }
}

/// A limit of [`HttpLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HttpLimit {
    HeadBytes,
    Requests,
}
