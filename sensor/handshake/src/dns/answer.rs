//! A DNS response as events write it.

/// A DNS answer as written by `--events dns`.
#[derive(Clone, Debug)]
pub struct DnsAnswer {
    /// Transaction id.
    pub id: u16,
    /// Header flags.
    pub flags: u16,
    /// Question name, lower case.
    pub question: String,
    /// Question type.
    pub question_type: u16,
    /// Owner, type, TTL in seconds and printable data of each answer.
    pub answers: Vec<DnsRecord>,
}

/// One resource record of an answer.
#[derive(Clone, Debug)]
pub struct DnsRecord {
    /// Owner name, lower case.
    pub name: String,
    /// Record type number.
    pub record_type: u16,
    /// Time to live, seconds.
    pub ttl_s: u32,
    /// Printable data: an address, a name, or for HTTPS/SVCB the target.
    pub data: String,
}
