//! What may precede the TLS hello on a client's TCP stream: PROXY headers, HTTP CONNECT, SOCKS, STARTTLS and its kin, or
//! clear text of any kind. Reports the host names in it and where the hello begins; does not read the hello.
//! Not covered: hellos in the format of SSL 2.

mod hello;
mod proxied;
mod upgrade;

use std::net::IpAddr;
use std::ops::Range;

use memchr::memchr;

pub use hello::{HANDSHAKE_RECORD, Match, Place, client_hello_at};
pub use proxied::{Endpoint, Proxied};

use crate::{Evidence, http, socks};

/// Default for how far from its start a stream is searched for a hello.
pub const PRELUDE_BYTES_MAX: usize = 8192;

/// How many messages may precede a hello: a PROXY header, several CONNECTs until the proxy accepts the password, SOCKS in
/// a tunnel.
pub const LAYERS_MAX: u8 = 8;

/// Starts of streams on which no hello follows: the server's side of known protocols, and protocols that have their own
/// encryption or none.
const NOT_BEFORE_A_HELLO: [&[u8]; 13] = [
    b"HTTP/1.",
    b"SSH-",
    b"PRI * HTTP/2",
    b"220 ",
    b"220-",
    b"+OK",
    b"* OK",
    b"RTSP/1.",
    b"SIP/2.0 ",
    b"RFB 00",
    b"@RSYNCD:",
    b"ICY 200",
    b"\x13BitTorrent protocol",
];

/// What to do next with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask again when the stream is longer.
    NeedMore,
    /// A ClientHello record begins here. If it turns out to be none, the next call searches on behind it.
    Hello {
        /// Offset of the record in the stream.
        offset: usize,
    },
    /// The client names a host. Ask again at once: a hello may follow.
    Name {
        /// Which kind of message names it.
        evidence: Evidence,
        /// Where in the stream the name stands, as it was written; never an IP address.
        name: Range<usize>,
        /// The port there.
        port: Option<u16>,
    },
    /// No hello follows, or none that is looked for.
    GiveUp,
}

/// The search for the hello of one stream. Keep it beside the stream's bytes while it asks for more.
///
/// All calls together take time linear in the stream, however it is cut. The result depends on the stream's bytes alone,
/// not on the cuts.
#[derive(Clone, Debug)]
pub struct Prelude {
    state: State,
    /// Offset of the first message not yet recognised.
    base: u32,
    bytes_max: u32,
    layers: u8,
    /// Boxed because few streams have it.
    proxy_info: Option<Box<ProxyInfo>>,
}

// Every stream that is followed has one.
const _: () = assert!(size_of::<Prelude>() <= 48);

/// What the messages before the hello contain besides names.
#[derive(Clone, Debug, Default)]
struct ProxyInfo {
    proxied: Option<Proxied>,
    destination: Option<Endpoint>,
}

#[derive(Clone, Debug)]
enum State {
    /// At a message's start.
    Start,
    /// In the head of an HTTP request; whether its host was reported.
    Http(http::RequestReader, bool),
    /// In unknown bytes, searched up to here.
    Search(u32),
    Done,
}

/// What stands at a message's start.
enum Message {
    /// It is not clear yet.
    Unclear,
    /// A hello.
    Hello,
    /// Nothing known.
    Unknown,
    /// Something that no hello follows.
    NoHello,
    /// A request of this length that a hello may follow.
    Upgrade(usize),
    /// A PROXY header, and its length.
    Proxied(Proxied, usize),
    /// An HTTP request.
    Http,
    /// A SOCKS request.
    Socks(socks::Request),
}

impl Default for Prelude {
    fn default() -> Self {
        Self::new(PRELUDE_BYTES_MAX)
    }
}

impl Prelude {
    /// A search through the first `bytes_max` bytes of a stream.
    pub const fn new(bytes_max: usize) -> Self {
        let bytes_max = if bytes_max < u32::MAX as usize { bytes_max as u32 } else { u32::MAX };
        Self { state: State::Start, base: 0, bytes_max, layers: 0, proxy_info: None }
    }

    /// Bytes of memory held, besides those of the struct itself.
    pub fn memory_bytes(&self) -> usize {
        if self.proxy_info.is_some() { size_of::<ProxyInfo>() } else { 0 }
    }

    const fn base(&self) -> usize {
        self.base as usize
    }

    const fn bytes_max(&self) -> usize {
        self.bytes_max as usize
    }

    /// The content of the PROXY header, if there was one.
    pub fn proxied(&self) -> Option<&Proxied> {
        self.proxy_info.as_ref()?.proxied.as_ref()
    }

    /// The address that the client asked a proxy to connect it to, if it asked for an address and not for a name.
    pub fn tunnel_destination(&self) -> Option<Endpoint> {
        self.proxy_info.as_ref()?.destination
    }

    /// The next step, given the stream's contiguous bytes from its start, which must begin with those of earlier calls.
    /// A server's stream may be passed too: it is given up.
    pub fn advance(&mut self, stream: &[u8]) -> Step {
        loop {
            let step = match &mut self.state {
                State::Start => self.start(stream),
                State::Http(..) => self.http(stream),
                State::Search(from) => {
                    let step = search(stream, self.base as usize, from, self.bytes_max as usize);
                    if step == Step::GiveUp {
                        self.state = State::Done;
                    }
                    return step;
                }
                State::Done => return Step::GiveUp,
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// How many bytes at the start of the stream will not be read again.
    pub fn forgettable(&self) -> usize {
        match self.state {
            // The bytes right before the search position may be a STARTTLS request.
            State::Search(from) => (from as usize).saturating_sub(upgrade::REQUEST_BYTES_MAX),
            State::Start | State::Http(..) | State::Done => 0,
        }
    }

    /// From now on the stream comes without its first `bytes`, which must be [`forgettable`](Self::forgettable). Ranges
    /// inside a PROXY header are wrong afterwards.
    pub fn forget(&mut self, bytes: usize) {
        if let State::Search(from) = &mut self.state {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            *from = from.saturating_sub(bytes);
            self.base = self.base.saturating_sub(bytes);
            self.bytes_max = self.bytes_max.saturating_sub(bytes);
        }
    }

    /// Reads one message. `None` if only the state changed.
    fn start(&mut self, stream: &[u8]) -> Option<Step> {
        if self.base >= self.bytes_max || self.layers >= LAYERS_MAX {
            self.state = State::Search(self.base);
            return None;
        }
        match message(stream.get(self.base()..).unwrap_or_default(), self.bytes_max()) {
            Message::Unclear => return Some(Step::NeedMore),
            Message::Hello => {
                self.state = State::Search(self.base + 1);
                return Some(Step::Hello { offset: self.base() });
            }
            Message::Unknown => self.state = State::Search(self.base),
            Message::NoHello => self.state = State::Done,
            Message::Upgrade(length) => self.skip(length),
            Message::Proxied(mut proxied, length) => {
                let base = self.base();
                proxied.authority = proxied.authority.map(|range| base + range.start..base + range.end);
                // The first header is that of the balancer nearest to the client's side of the stream.
                self.proxy_info.get_or_insert_default().proxied.get_or_insert(proxied);
                self.skip(length);
            }
            Message::Http => self.state = State::Http(http::RequestReader::default(), false),
            Message::Socks(request) => return self.socks(request),
        }
        None
    }

    /// Continues behind a message.
    fn skip(&mut self, length: usize) {
        self.base = self.base.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        self.layers = self.layers.saturating_add(1);
        self.state = State::Start;
    }

    fn http(&mut self, stream: &[u8]) -> Option<Step> {
        let base = self.base();
        let State::Http(reader, told) = &mut self.state else { return None };
        let request = match reader.advance(stream.get(base..).unwrap_or_default()) {
            http::Parsed::Incomplete => return Some(Step::NeedMore),
            http::Parsed::NotHttp => {
                self.state = State::Search(self.base);
                return None;
            }
            http::Parsed::Request(request) => request,
        };
        let connect = request.method == http::Method::Connect;
        if let Some(range) = request.host.filter(|_| !*told) {
            *told = true;
            let name = base + range.start..base + range.end;
            let evidence = if connect { Evidence::HttpConnect } else { Evidence::HttpHost };
            match literal_address(stream.get(name.clone()).unwrap_or_default()) {
                None => return Some(Step::Name { evidence, name, port: request.port }),
                Some(address) if connect => {
                    let port = request.port.unwrap_or_default();
                    let destination = Endpoint { address: address.into(), port };
                    self.proxy_info.get_or_insert_default().destination = Some(destination);
                }
                Some(_) => {}
            }
        }
        match request.head_end {
            _ if !connect => self.state = State::Done,
            Some(length) => self.skip(length),
            // The rest of the head is searched for its end up to the reader's limit only.
            None if stream.len() - base >= http::HEAD_BYTES_MAX => self.state = State::Search(self.base),
            None => return Some(Step::NeedMore),
        }
        None
    }

    fn socks(&mut self, request: socks::Request) -> Option<Step> {
        let base = self.base();
        self.skip(request.end);
        match request.destination {
            socks::Destination::Domain(range) => Some(Step::Name {
                evidence: Evidence::Socks,
                name: base + range.start..base + range.end,
                port: Some(request.port),
            }),
            socks::Destination::Address(address) => {
                let destination = Endpoint { address: address.into(), port: request.port };
                self.proxy_info.get_or_insert_default().destination = Some(destination);
                None
            }
        }
    }
}

/// What stands at the start of `rest`. More bytes change only [`Message::Unclear`].
fn message(rest: &[u8], bytes_max: usize) -> Message {
    match rest.first() {
        None => return Message::Unclear,
        Some(&HANDSHAKE_RECORD) => return handshake_record(rest),
        // Encrypted TLS records: the hello has passed. (An alert may precede a hello, so it is searched past.)
        Some(0x17) => match rest {
            [_] | [_, 3] => return Message::Unclear,
            [_, 3, 0..=4, ..] => return Message::NoHello,
            _ => return Message::Unknown,
        },
        Some(_) => {}
    }
    match upgrade::binary(rest) {
        upgrade::Request::Yes(length) => return Message::Upgrade(length),
        upgrade::Request::Maybe => return Message::Unclear,
        upgrade::Request::No => {}
    }
    match proxied::header(rest, bytes_max) {
        proxied::Header::Yes(proxied, length) => return Message::Proxied(proxied, length),
        proxied::Header::Maybe => return Message::Unclear,
        proxied::Header::No => {}
    }
    for start in NOT_BEFORE_A_HELLO {
        if proxied::begins(rest, start) {
            return if rest.len() >= start.len() { Message::NoHello } else { Message::Unclear };
        }
    }
    match socks::Request::parse(rest) {
        socks::Parsed::Request(request) => Message::Socks(request),
        socks::Parsed::Incomplete => Message::Unclear,
        socks::Parsed::NotSocks if http::may_be_request(rest) => Message::Http,
        socks::Parsed::NotSocks => Message::Unknown,
    }
}

fn handshake_record(rest: &[u8]) -> Message {
    match client_hello_at(rest, 0, Place::Boundary) {
        Match::Yes => Message::Hello,
        Match::Maybe => Message::Unclear,
        // A ServerHello: this is the server's side.
        Match::No if matches!(rest, [_, 3, _, _, _, 2, ..]) => Message::NoHello,
        Match::No => Message::Unknown,
    }
}

/// Searches unknown bytes from `searched` on and updates it.
fn search(stream: &[u8], base: usize, searched: &mut u32, bytes_max: usize) -> Step {
    let end = stream.len().min(bytes_max);
    let mut from = *searched as usize;
    // No offset exceeds `bytes_max`, which fits.
    let mut searched_to = |place: usize| *searched = place as u32;
    while let Some(found) = stream.get(from..end).and_then(|rest| memchr(HANDSHAKE_RECORD, rest)) {
        let at = from + found;
        match hello_in_unknown(stream, base, at) {
            Match::Yes => {
                searched_to(at + 1);
                return Step::Hello { offset: at };
            }
            Match::Maybe => {
                searched_to(at);
                return Step::NeedMore;
            }
            Match::No => from = at + 1,
        }
    }
    let from = end.max(from);
    searched_to(from);
    if from >= bytes_max { Step::GiveUp } else { Step::NeedMore }
}

/// Whether a hello stands at `at`: any hello right behind a STARTTLS request, elsewhere only an unmistakable one.
fn hello_in_unknown(stream: &[u8], base: usize, at: usize) -> Match {
    let expected = client_hello_at(stream, at, Place::Boundary);
    if expected == Match::No || upgrade::text_ends(stream.get(base..at).unwrap_or_default()) {
        return expected;
    }
    client_hello_at(stream, at, Place::Anywhere)
}

/// The address that stands in place of a name.
fn literal_address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
