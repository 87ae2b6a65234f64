//! What may stand on a client's TCP stream in front of a TLS hello, and which names it tells: PROXY headers, HTTP CONNECT,
//! SOCKS, requests to go over to TLS, or clear text of any kind. Finds where the hello begins; does not read it.
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

/// How far from its start a stream is searched for a hello, unless told otherwise.
pub const PRELUDE_BYTES_MAX: usize = 8192;

/// How many messages that lead to a hello may follow one another: a PROXY header, several CONNECTs until the proxy is
/// content with the password, SOCKS in a tunnel.
pub const LAYERS_MAX: u8 = 8;

/// What begins a stream on which no hello can follow: the server's side of known protocols, and protocols that bring
/// their own encryption or none.
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
    /// A ClientHello record begins here. Asking again searches on behind this place, should it have been none.
    Hello {
        /// Offset of the record in the stream.
        offset: usize,
    },
    /// The stream names the host it is for. Ask again at once: a hello may follow.
    Name {
        /// By what it is named.
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
/// All calls together take time linear in the stream, however it is cut; what is said depends on the stream's bytes
/// alone, not on how they came.
#[derive(Clone, Debug)]
pub struct Prelude {
    state: State,
    /// Where the part not yet recognised begins.
    base: u32,
    bytes_max: u32,
    layers: u8,
    /// What few streams say.
    said: Option<Box<Said>>,
}

// Every stream that is listened to has one.
const _: () = assert!(size_of::<Prelude>() <= 48);

/// What the messages before the hello said besides names.
#[derive(Clone, Debug, Default)]
struct Said {
    proxied: Option<Proxied>,
    destination: Option<Endpoint>,
}

#[derive(Clone, Debug)]
enum State {
    /// At a message's start.
    Start,
    /// In the head of an HTTP request; whether its host was told.
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
    Hopeless,
    /// Something of so many bytes that a hello may follow.
    Passed(usize),
    /// A PROXY header of so many bytes.
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
        Self { state: State::Start, base: 0, bytes_max, layers: 0, said: None }
    }

    /// Bytes of memory held, besides those of the struct itself.
    pub fn memory_bytes(&self) -> usize {
        if self.said.is_some() { size_of::<Said>() } else { 0 }
    }

    const fn base(&self) -> usize {
        self.base as usize
    }

    const fn bytes_max(&self) -> usize {
        self.bytes_max as usize
    }

    /// What a PROXY header said, if there was one.
    pub fn proxied(&self) -> Option<&Proxied> {
        self.said.as_ref()?.proxied.as_ref()
    }

    /// The address that the client asked a proxy to connect it to, if it asked for an address and not for a name.
    pub fn tunnel_destination(&self) -> Option<Endpoint> {
        self.said.as_ref()?.destination
    }

    /// The next step, given all bytes of the stream known without a hole from its start; they must begin with what
    /// earlier calls were given. The stream of a server is given up or searched in vain, without harm.
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

    /// How many bytes from the start of the stream will not be looked at again.
    pub fn forgettable(&self) -> usize {
        match self.state {
            // What stands before the place where the search goes on may be a request to go over to TLS.
            State::Search(from) => (from as usize).saturating_sub(upgrade::REQUEST_BYTES_MAX),
            State::Start | State::Http(..) | State::Done => 0,
        }
    }

    /// From now on the stream comes without so many of its first bytes, of those that are [forgettable](Self::forgettable). Where
    /// the parts of a PROXY header stood is not told rightly any more.
    pub fn forget(&mut self, bytes: usize) {
        if let State::Search(from) = &mut self.state {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            *from = from.saturating_sub(bytes);
            self.base = self.base.saturating_sub(bytes);
            self.bytes_max = self.bytes_max.saturating_sub(bytes);
        }
    }

    /// One message. `None` if it led to another state.
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
            Message::Hopeless => self.state = State::Done,
            Message::Passed(length) => self.pass(length),
            Message::Proxied(mut proxied, length) => {
                let base = self.base();
                proxied.authority = proxied.authority.map(|range| base + range.start..base + range.end);
                // The first header is that of the balancer nearest to the client's side of the stream.
                self.said.get_or_insert_default().proxied.get_or_insert(proxied);
                self.pass(length);
            }
            Message::Http => self.state = State::Http(http::RequestReader::default(), false),
            Message::Socks(request) => return self.socks(request),
        }
        None
    }

    /// Goes on behind a message.
    fn pass(&mut self, length: usize) {
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
                    self.said.get_or_insert_default().destination = Some(destination);
                }
                Some(_) => {}
            }
        }
        match request.head_end {
            _ if !connect => self.state = State::Done,
            Some(length) => self.pass(length),
            // The rest of the head is searched for its end up to the reader's limit only.
            None if stream.len() - base >= http::HEAD_BYTES_MAX => self.state = State::Search(self.base),
            None => return Some(Step::NeedMore),
        }
        None
    }

    fn socks(&mut self, request: socks::Request) -> Option<Step> {
        let base = self.base();
        self.pass(request.end);
        match request.destination {
            socks::Destination::Domain(range) => Some(Step::Name {
                evidence: Evidence::Socks,
                name: base + range.start..base + range.end,
                port: Some(request.port),
            }),
            socks::Destination::Address(address) => {
                let destination = Endpoint { address: address.into(), port: request.port };
                self.said.get_or_insert_default().destination = Some(destination);
                None
            }
        }
    }
}

/// What stands at the start of `rest`. What is said of a prefix holds for the whole: only [`Message::Unclear`] may
/// change.
fn message(rest: &[u8], bytes_max: usize) -> Message {
    match rest.first() {
        None => return Message::Unclear,
        Some(&HANDSHAKE_RECORD) => return handshake_record(rest),
        // Ciphertext of TLS: the hello is long past. An alert in front of a hello is searched past instead.
        Some(0x17) => match rest {
            [_] | [_, 3] => return Message::Unclear,
            [_, 3, 0..=4, ..] => return Message::Hopeless,
            _ => return Message::Unknown,
        },
        Some(_) => {}
    }
    match upgrade::binary(rest) {
        upgrade::Request::Yes(length) => return Message::Passed(length),
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
            return if rest.len() >= start.len() { Message::Hopeless } else { Message::Unclear };
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
        // A ServerHello: this is the other side of the connection.
        Match::No if matches!(rest, [_, 3, 0..=4, _, _, 2, ..]) => Message::Hopeless,
        Match::No => Message::Unknown,
    }
}

/// Searches unknown bytes from `from` on, and leaves there how far it came.
fn search(stream: &[u8], base: usize, searched: &mut u32, bytes_max: usize) -> Step {
    let end = stream.len().min(bytes_max);
    let mut from = *searched as usize;
    // No place is beyond `bytes_max`, which fits.
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

/// Whether a hello stands at `at`: any hello behind a request for it, else one that cannot be mistaken.
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
