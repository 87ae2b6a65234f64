//! DNS messages (RFC 1035) over UDP and TCP: what was asked, where the answer says it is, under which other names.
//! Nothing is allocated: names are read into a [`DnsName`] on the stack, records are walked as they stand.
//! Not covered: multicast DNS and LLMNR (same format, other meaning), encrypted DNS, authority and additional sections.

mod answer;
mod name;
mod record;
mod stream;

use std::net::IpAddr;

pub use answer::{DnsAnswer, DnsRecord};
pub use name::{DnsName, NAME_BYTES_MAX, NameAt, POINTER_JUMPS_MAX};
pub use record::{Data, Record, Service, record_type};
pub(crate) use stream::DnsStream;

use vigie_wire::Cursor;

/// The port of DNS.
pub const PORT: u16 = 53;

/// Ports on which the format is DNS's but the names are of the local network: NetBIOS, multicast DNS, LLMNR.
pub const LOCAL_NAME_PORTS: [u16; 3] = [137, MULTICAST_PORT, 5355];

/// The port of multicast DNS.
const MULTICAST_PORT: u16 = 5353;

/// How many records of an answer are looked at.
pub const ANSWERS_MAX: usize = 128;

/// How many addresses of an answer are reported; one HTTPS record alone could hold sixteen thousand.
pub const ADDRESSES_MAX: usize = 256;

const HEADER_BYTES: usize = 12;
/// How many questions a header announces, in nearly every message.
const ONE_QUESTION: [u8; 2] = [0, 1];
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RESERVED: u16 = 0x0040;
const RESPONSE_CODE: u16 = 0x000f;
const CLASS_INTERNET: u16 = 1;
const CLASS_ANY: u16 = 255;

/// Whether `payload` is most likely an ordinary query or response, whatever its port: a plain header, then one question
/// of the Internet class. Ports of [`LOCAL_NAME_PORTS`] should not be asked about. Reads at most 271 bytes.
pub fn looks_like_dns(payload: &[u8]) -> bool {
    let Some(header) = Header::read(payload) else { return false };
    let plain_query = header.answers == 0 && header.authorities == 0 && header.flags & RESPONSE_CODE == 0;
    header.flags & RESERVED == 0
        && header.questions == 1
        && (header.flags & RESPONSE != 0 || plain_query && header.additionals <= 2)
        && Question::read(payload, HEADER_BYTES).is_some_and(|(question, _)| {
            question.record_type != 0 && matches!(question.class, CLASS_INTERNET | CLASS_ANY)
        })
}

/// Whether a datagram between two ports of which none is the [port](PORT) of DNS is most likely DNS. The first test is cheap:
/// nearly all other datagrams fail it.
#[inline]
pub fn is_datagram_on_other_ports(ports: (u16, u16), payload: &[u8]) -> bool {
    payload.get(4..6) == Some(&ONE_QUESTION) && !have_local_names(ports) && looks_like_dns(payload)
}

/// Whether a segment between two ports of which none is the [port](PORT) of DNS most likely begins with a DNS message, or the
/// first part of one (RFC 1035 §4.2.2).
#[inline]
pub fn is_segment_on_other_ports(ports: (u16, u16), payload: &[u8]) -> bool {
    payload.get(6..8) == Some(&ONE_QUESTION) && !have_local_names(ports) && begins_with_dns(payload)
}

/// Whether a segment between two ports of which none is the [port](PORT) of DNS most likely begins with a DNS message whose
/// length came in a segment of its own.
#[inline]
pub fn is_message_on_other_ports(ports: (u16, u16), payload: &[u8]) -> bool {
    payload.get(4..6) == Some(&ONE_QUESTION) && !have_local_names(ports) && is_message(payload)
}

/// Whether a segment most likely begins with a DNS message without its length.
fn is_message(payload: &[u8]) -> bool {
    looks_like_dns(payload) && !begins_with_dns(payload)
}

fn begins_with_dns(stream: &[u8]) -> bool {
    stream.split_first_chunk::<2>().is_some_and(|(&length, message)| {
        looks_like_dns(message.get(..usize::from(u16::from_be_bytes(length))).unwrap_or(message))
    })
}

/// Whether names between two ports are of the local network. Multicast DNS goes from its port to its port (RFC 6762 §5); a
/// resolver on that port is asked from another.
fn have_local_names((one, other): (u16, u16)) -> bool {
    let is_local = |port: u16| port != MULTICAST_PORT && LOCAL_NAME_PORTS.contains(&port);
    is_local(one) || is_local(other) || (one, other) == (MULTICAST_PORT, MULTICAST_PORT)
}

/// A DNS message whose header and question were read.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    header: Header,
    question: Option<Question<'a>>,
    answers_start: usize,
}

/// The question of a message.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name asked about.
    pub name: NameAt<'a>,
    /// The record type asked for.
    pub record_type: u16,
    /// The class asked for.
    pub class: u16,
}

impl<'a> Message<'a> {
    /// Reads header and question. `None` if it is no query or response (opcode 0), has more than one question, which
    /// RFC 9619 forbids, or if the question is malformed.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let header = Header::read(payload)?;
        let (question, answers_start) = match header.questions {
            0 => (None, HEADER_BYTES),
            1 => Question::read(payload, HEADER_BYTES).map(|(question, end)| (Some(question), end))?,
            _ => return None,
        };
        Some(Self { bytes: payload, header, question, answers_start })
    }

    /// Transaction id.
    pub const fn id(&self) -> u16 {
        self.header.id
    }

    /// Header flags as they stand.
    pub const fn flags(&self) -> u16 {
        self.header.flags
    }

    /// Whether it is a response.
    pub const fn is_response(&self) -> bool {
        self.header.flags & RESPONSE != 0
    }

    /// Whether the answer did not fit; the client asks again over TCP.
    pub const fn is_truncated(&self) -> bool {
        self.header.flags & TRUNCATED != 0
    }

    /// Response code without its extension by EDNS: 0 no error, 2 server failure, 3 no such name, 5 refused.
    pub const fn response_code(&self) -> u8 {
        (self.header.flags & RESPONSE_CODE) as u8
    }

    /// The question, if there is one.
    pub const fn question(&self) -> Option<Question<'a>> {
        self.question
    }

    /// The records of the answer section, up to [`ANSWERS_MAX`] or the first malformed or cut one.
    pub fn answers(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let (bytes, mut at) = (self.bytes, self.answers_start);
        (0..usize::from(self.header.answers).min(ANSWERS_MAX)).map_while(move |_| {
            let (record, end) = Record::new(bytes, at)?;
            at = end;
            Some(record)
        })
    }

    /// Every address of a response with the host name that was asked for and the record's time to live in seconds.
    ///
    /// All addresses of the answer section count, whoever owns them: the section answers the question
    /// (RFC 1034 §4.3.2), the owners being the question's canonical names in whatever order the server put them. Hints
    /// of HTTPS and SVCB records count too. A zone transfer names many hosts and gives nothing.
    pub fn addresses(&self, visit: impl FnMut(&str, IpAddr, u32)) {
        if let Some(name) = self.question.and_then(|question| question.name.name()) {
            self.addresses_of(name.as_str(), visit);
        }
    }

    /// The same, where the name of the question was read before.
    pub fn addresses_of(&self, name: &str, mut visit: impl FnMut(&str, IpAddr, u32)) {
        let Some(host) = self.host(name) else { return };
        let mut left = ADDRESSES_MAX;
        for record in self.answers().filter(|record| record.class == CLASS_INTERNET) {
            let mut report = |address: IpAddr| {
                if left > 0 {
                    left -= 1;
                    visit(host, address, record.ttl_s);
                }
            };
            match record.data() {
                Data::A(address) => report(address.into()),
                Data::Aaaa(address) => report(address.into()),
                Data::Service(service) => {
                    service.ipv4_hints().take(ADDRESSES_MAX).for_each(|address| report(address.into()));
                    service.ipv6_hints().take(ADDRESSES_MAX).for_each(|address| report(address.into()));
                }
                Data::Cname(_) | Data::Other(_) => {}
            }
        }
    }

    /// The other names that a response gives to the one asked for, in order: targets of CNAME, HTTPS and SVCB records.
    pub fn chain(&self, mut visit: impl FnMut(&str)) {
        if !self.is_response() {
            return;
        }
        let mut name = DnsName::new();
        for record in self.answers().filter(|record| record.class == CLASS_INTERNET) {
            let target = match record.data() {
                Data::Cname(target) => target,
                Data::Service(service) => service.target,
                Data::A(_) | Data::Aaaa(_) | Data::Other(_) => continue,
            };
            if target.read(&mut name).is_some() && !name.is_root() {
                visit(name.as_str());
            }
        }
    }

    /// The response as it is written in events; `None` for a query or without a question.
    pub fn to_answer(&self) -> Option<DnsAnswer> {
        let question = self.question.filter(|_| self.is_response())?;
        let printable = |at: NameAt<'_>| at.name().map(|name| name.as_str().to_owned()).unwrap_or_default();
        let record = |record: Record<'_>| DnsRecord {
            name: printable(record.owner),
            record_type: record.record_type,
            ttl_s: record.ttl_s,
            data: match record.data() {
                Data::A(address) => address.to_string(),
                Data::Aaaa(address) => address.to_string(),
                Data::Cname(target) => printable(target),
                Data::Service(service) => printable(service.target),
                Data::Other(_) => String::new(),
            },
        };
        Some(DnsAnswer {
            id: self.id(),
            flags: self.flags(),
            question: printable(question.name),
            question_type: question.record_type,
            answers: self.answers().map(record).collect(),
            is_cut: usize::from(self.header.answers) > ANSWERS_MAX,
        })
    }

    /// The host asked about in a response, in the name of its question.
    fn host<'n>(&self, name: &'n str) -> Option<&'n str> {
        let question = self.question.filter(|question| {
            self.is_response() && !matches!(question.record_type, record_type::AXFR | record_type::IXFR)
        })?;
        let start = match question.record_type {
            record_type::HTTPS | record_type::SVCB => host_start(name),
            _ => 0,
        };
        name.get(start..).filter(|host| !host.is_empty())
    }
}

/// The complete messages at the start of one direction of a TCP stream, and how many bytes they take with their two
/// length bytes each (RFC 1035 §4.2.2). What follows them is an unfinished message.
pub fn tcp_messages(stream: &[u8]) -> (impl Iterator<Item = &[u8]>, usize) {
    let messages = || {
        let mut cursor = Cursor::new(stream);
        std::iter::from_fn(move || cursor.vector16())
    };
    let consumed = messages().map(|message| message.len() + 2).sum();
    (messages(), consumed)
}

/// Where the host begins in the name of a service question: behind labels such as `_8443._https.` (RFC 9460 §2.3).
fn host_start(name: &str) -> usize {
    let mut start = 0;
    while let Some(rest) = name.get(start..).filter(|rest| rest.starts_with('_')) {
        match rest.find('.') {
            Some(dot) => start += dot + 1,
            None => return name.len(),
        }
    }
    start
}

#[derive(Clone, Copy, Debug)]
struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl Header {
    /// The header of a query or response; other opcodes give their sections other meanings (RFC 2136 §2).
    fn read(payload: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        let (id, flags) = (cursor.u16()?, cursor.u16()?);
        if flags & OPCODE != 0 {
            return None;
        }
        Some(Self {
            id,
            flags,
            questions: cursor.u16()?,
            answers: cursor.u16()?,
            authorities: cursor.u16()?,
            additionals: cursor.u16()?,
        })
    }
}

impl<'a> Question<'a> {
    fn read(message: &'a [u8], offset: usize) -> Option<(Self, usize)> {
        let (name, end) = NameAt::new(message, offset)?;
        let mut cursor = Cursor::new(message.get(end..)?);
        Some((Self { name, record_type: cursor.u16()?, class: cursor.u16()? }, end + 4))
    }
}

#[cfg(test)]
mod tests;
