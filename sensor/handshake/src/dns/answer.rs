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
    /// Further records were left out.
    pub is_cut: bool,
}

impl DnsAnswer {
    /// Leaves out the records behind those that have `bytes_max` together, as events write them.
    pub fn cut(&mut self, bytes_max: usize) {
        /// What an event writes besides the texts of a record: the names of its fields, its type and time to live.
        const RECORD_BYTES: usize = 64;
        let mut left = bytes_max;
        let fits = self.answers.iter().take_while(|record| {
            let bytes = RECORD_BYTES + record.name.len() + record.data.len();
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        });
        let fitting = fits.count();
        self.is_cut |= fitting < self.answers.len();
        self.answers.truncate(fitting);
    }
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

impl DnsAnswer {
    /// Bytes of memory used, the struct included.
    pub fn memory_bytes(&self) -> usize {
        let texts = self.answers.iter().map(|record| record.name.capacity() + record.data.capacity()).sum::<usize>();
        size_of::<Self>() + self.question.capacity() + self.answers.capacity() * size_of::<DnsRecord>() + texts
    }
}
