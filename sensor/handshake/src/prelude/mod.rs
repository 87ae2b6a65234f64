//! What may precede the TLS hello on a client's TCP stream, or stand in its place: PROXY headers, HTTP requests, SOCKS,
//! STARTTLS and its kin, or clear text of any kind. Reports the host names in it and where the hello begins; does not read
//! the hello. Of HTTP it reads up to the first host of the first request that is no CONNECT; the rest is for
//! [`HttpConnection`](crate::http::HttpConnection).
//! Not covered: hellos in the format of SSL 2.

mod hello;
mod message;
mod proxied;
mod upgrade;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::LazyLock;

use arrayvec::ArrayVec;
use memchr::{memchr, memmem, memrchr};

pub use hello::{HANDSHAKE_RECORD, Match, Place, client_hello_at};
pub use proxied::{Endpoint, Proxied};

use message::Message;

use crate::http::{HttpLimits, HttpReader};
use crate::name_hash::name_hash;
use crate::{Evidence, http, socks};

/// Default for how far from its start a stream is searched for a hello.
pub const PRELUDE_BYTES_MAX: usize = 8192;

/// How many messages may precede a hello: a PROXY header, several CONNECTs until the proxy accepts the password, SOCKS in
/// a tunnel.
pub const LAYERS_MAX: u8 = 8;

/// How many bytes of junk in front of a client's first request are skipped.
const JUNK_BYTES_MAX: usize = 64;

/// Longest request line that is found in unknown bytes.
const REQUEST_LINE_BYTES_MAX: usize = 2048;

/// Longest version at the end of a request line, with blanks behind it, whose line end is waited for.
const VERSION_BYTES_MAX: usize = 32;

/// How much of a request's head is kept for other versions of it. What is read of a longer one is not.
const KEPT_HEAD_BYTES_MAX: usize = 16 << 10;

/// How many names before the hello are remembered, so that each is reported once.
const NAMES_MAX: usize = 16;

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
    /// The stream may have begun before its first byte that is known: a request may begin at any line of it.
    may_begin_inside: bool,
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
    /// Hashes of the names that were [asked about](Prelude::is_new_name).
    names: ArrayVec<u32, NAMES_MAX>,
}

#[derive(Clone, Debug)]
enum State {
    /// At a message's start.
    Start,
    /// In the head of an HTTP request that has not come to its end, or of a CONNECT. Boxed because few streams have it.
    Http(Box<HttpReader>),
    /// In HTTP: the first host that is no proxy's task was reported. The reader is here if the head came in pieces.
    Requests(Option<Box<HttpReader>>),
    /// In unknown bytes.
    Search(Search),
    Done,
}

/// How far unknown bytes are searched.
#[derive(Clone, Copy, Debug)]
struct Search {
    /// For hellos.
    hello: u32,
    /// For the versions of HTTP that end request lines. `None` if none is looked for any more.
    request: Option<u32>,
}

impl Search {
    const fn from(offset: u32) -> Self {
        Self { hello: offset, request: Some(offset) }
    }
}

/// Whether a stream that begins with these bytes may begin with a message that names a host, or with a hello.
pub(crate) fn may_begin(stream: &[u8]) -> bool {
    !matches!(Message::of(stream, PRELUDE_BYTES_MAX), Message::Unknown | Message::NoHello)
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
        Self { state: State::Start, base: 0, bytes_max, layers: 0, may_begin_inside: false, proxy_info: None }
    }

    /// The same for a stream that may have begun before its first byte that is known.
    pub fn inside(self, may_begin_inside: bool) -> Self {
        Self { may_begin_inside, ..self }
    }

    /// Bytes of memory held, besides those of the struct itself.
    pub fn memory_bytes(&self) -> usize {
        let proxy_info = if self.proxy_info.is_some() { size_of::<ProxyInfo>() } else { 0 };
        let has_reader = matches!(self.state, State::Http(_) | State::Requests(Some(_)));
        proxy_info + if has_reader { size_of::<HttpReader>() } else { 0 }
    }

    /// Whether the stream is one of HTTP, and no hello is expected on it.
    pub const fn is_http(&self) -> bool {
        matches!(self.state, State::Requests(_))
    }

    /// Whether the head of a request has begun that is not read whole.
    pub const fn is_in_head(&self) -> bool {
        matches!(self.state, State::Http(_))
    }

    /// Whether neither a hello nor a request was found so far.
    pub const fn is_unknown(&self) -> bool {
        matches!(self.state, State::Search(_) | State::Done)
    }

    /// The other side has answered unknown bytes, so these are no junk in front of a request.
    pub const fn note_answer(&mut self) {
        if let State::Search(search) = &mut self.state
            && !self.may_begin_inside
        {
            search.request = None;
        }
    }

    /// Where the first request begins, and a reader that has read it so far, from there on.
    pub fn http(&self) -> Option<(usize, HttpReader)> {
        let State::Requests(reader) = &self.state else { return None };
        Some((self.base(), reader.as_deref().cloned().unwrap_or_default()))
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
    pub fn advance(&mut self, stream: &[u8], limits: &HttpLimits) -> Step {
        loop {
            let step = match &mut self.state {
                State::Start => self.start(stream, limits),
                State::Http(_) => self.continue_request(stream, limits),
                State::Search(_) => self.search(stream),
                State::Requests(_) | State::Done => return Step::GiveUp,
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// How many bytes at the start of the stream will not be read again.
    pub fn forgettable(&self) -> usize {
        match &self.state {
            State::Search(search) => {
                // The bytes right before the search position may be a STARTTLS request, or the line of a request.
                let hello = (search.hello as usize).saturating_sub(upgrade::REQUEST_BYTES_MAX);
                let Some(searched) = search.request else { return hello };
                let request = (searched as usize).saturating_sub(REQUEST_LINE_BYTES_MAX);
                // Where the junk in front of a request begins is told by `base`.
                let request = if self.may_begin_inside { request } else { request.min(self.base()) };
                hello.min(request)
            }
            State::Http(reader) if reader.forgettable() > KEPT_HEAD_BYTES_MAX => self.base() + reader.forgettable(),
            State::Start | State::Http(_) | State::Requests(_) | State::Done => 0,
        }
    }

    /// From now on the stream comes without its first `bytes`, which must be [`forgettable`](Self::forgettable). Ranges
    /// inside a PROXY header are wrong afterwards.
    pub fn forget(&mut self, bytes: usize) {
        let (base, count) = (self.base(), u32::try_from(bytes).unwrap_or(u32::MAX));
        match &mut self.state {
            State::Search(search) => {
                search.hello = search.hello.saturating_sub(count);
                search.request = search.request.map(|request| request.saturating_sub(count));
                self.bytes_max = self.bytes_max.saturating_sub(count);
            }
            State::Http(reader) => reader.forget(bytes.saturating_sub(base)),
            State::Start | State::Requests(_) | State::Done => return,
        }
        self.base = self.base.saturating_sub(count);
    }

    /// Reads one message. `None` if only the state changed.
    fn start(&mut self, stream: &[u8], limits: &HttpLimits) -> Option<Step> {
        if self.base >= self.bytes_max || self.layers >= LAYERS_MAX {
            self.state = State::Search(Search::from(self.base));
            return None;
        }
        match Message::of(stream.get(self.base()..).unwrap_or_default(), self.bytes_max()) {
            Message::Unclear => return Some(Step::NeedMore),
            Message::Hello => {
                self.state = State::Search(Search::from(self.base + 1));
                return Some(Step::Hello { offset: self.base() });
            }
            Message::Unknown => self.state = State::Search(Search::from(self.base)),
            Message::NoHello => self.state = State::Done,
            Message::Upgrade(length) => self.skip(length),
            Message::Proxied(mut proxied, length) => {
                let base = self.base();
                proxied.authority = proxied.authority.map(|range| base + range.start..base + range.end);
                let authority = proxied.authority.clone();
                // The first header is that of the balancer nearest to the client's side of the stream.
                self.proxy_info.get_or_insert_default().proxied.get_or_insert(proxied);
                self.skip(length);
                let name = authority
                    .filter(|name| stream.get(name.clone()).is_some_and(|text| literal_address(text).is_none()));
                return name.map(|name| Step::Name { evidence: Evidence::ProxyAuthority, name, port: None });
            }
            Message::Http => {
                let mut reader = HttpReader::default();
                let (step, is_needed) = self.request(stream, &mut reader, limits);
                if is_needed {
                    self.state = State::Http(Box::new(reader));
                }
                return step;
            }
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

    /// Reads on in the head of a request.
    fn continue_request(&mut self, stream: &[u8], limits: &HttpLimits) -> Option<Step> {
        let State::Http(mut reader) = std::mem::replace(&mut self.state, State::Done) else { return None };
        let (step, is_needed) = self.request(stream, &mut reader, limits);
        if is_needed {
            self.state = State::Http(reader);
        } else if self.is_http() {
            self.state = State::Requests(Some(reader));
        }
        step
    }

    /// Reads a request up to its first host, or a CONNECT up to its end, and whether the reader is needed again.
    fn request(&mut self, stream: &[u8], reader: &mut HttpReader, limits: &HttpLimits) -> (Option<Step>, bool) {
        let base = self.base();
        loop {
            let step = reader.advance(stream.get(base..).unwrap_or_default(), limits);
            if reader.requests() > 1 {
                // The first request named no host, and is over: so it is where the second one has not come yet.
                *reader = HttpReader::default();
                self.state = State::Requests(None);
                return (None, false);
            }
            match step {
                http::Step::NeedMore if reader.has_request() && !reader.is_in_head() => {}
                http::Step::NeedMore => return (Some(Step::NeedMore), true),
                http::Step::Host { host, port } => {
                    let name = base + host.start..base + host.end;
                    let is_connect = reader.is_connect();
                    match literal_address(stream.get(name.clone()).unwrap_or_default()) {
                        None if is_connect => {
                            return (Some(Step::Name { evidence: Evidence::HttpConnect, name, port }), true);
                        }
                        None => {
                            self.state = State::Requests(None);
                            return (Some(Step::Name { evidence: Evidence::HttpHost, name, port }), false);
                        }
                        Some(address) if is_connect => {
                            let destination = Endpoint { address: address.into(), port: port.unwrap_or_default() };
                            self.proxy_info.get_or_insert_default().destination = Some(destination);
                        }
                        Some(_) => {}
                    }
                    continue;
                }
                http::Step::Tunnel { offset } => {
                    self.skip(offset);
                    return (None, false);
                }
                http::Step::NotHttp { .. } if !reader.has_request() => {
                    self.state = State::Search(Search::from(self.base));
                    return (None, false);
                }
                http::Step::Skip { .. } | http::Step::NotHttp { .. } | http::Step::LimitReached(_) => {}
            }
            // The request named no host, and is over.
            self.state = State::Requests(None);
            return (None, false);
        }
    }

    /// Whether a name of a CONNECT was not asked about yet. Clients repeat a CONNECT if the proxy wants a password.
    pub fn is_new_name(&mut self, name: &[u8]) -> bool {
        let names = &mut self.proxy_info.get_or_insert_default().names;
        let hash = name_hash(name);
        if names.contains(&hash) {
            return false;
        }
        let _ = names.try_push(hash);
        true
    }

    /// Searches unknown bytes for a hello, then for a request.
    fn search(&mut self, stream: &[u8]) -> Option<Step> {
        let State::Search(Search { hello: mut searched, .. }) = self.state else { return None };
        let step = search_hello(stream, self.base(), &mut searched, self.bytes_max());
        // What comes first counts, however it is delivered.
        let end = if let Step::Hello { offset } = step { offset } else { searched as usize };
        if let Some(start) = self.find_request(stream, end) {
            self.base = start as u32;
            self.state = State::Http(Box::default());
            return None;
        }
        if let State::Search(search) = &mut self.state {
            search.hello = searched;
        }
        if step == Step::GiveUp {
            self.state = State::Done;
        }
        Some(step)
    }

    /// Searches on in unknown bytes. True if nothing was found in them and more are awaited; otherwise the search stands where
    /// it stood before.
    pub(crate) fn finds_nothing(&mut self, stream: &[u8]) -> bool {
        let State::Search(before) = self.state else { return false };
        let base = self.base;
        if self.search(stream) == Some(Step::NeedMore) {
            return true;
        }
        (self.state, self.base) = (State::Search(before), base);
        false
    }

    /// Whether a request line may still begin in unknown bytes that are searched up to here.
    const fn looks_for_requests(&self, searched: u32) -> bool {
        self.may_begin_inside || searched <= self.base.saturating_add((JUNK_BYTES_MAX + REQUEST_LINE_BYTES_MAX) as u32)
    }

    /// Where in unknown bytes up to `end` a request line begins, told by the version behind it.
    fn find_request(&mut self, stream: &[u8], end: usize) -> Option<usize> {
        const VERSION: &[u8] = b"HTTP/";
        static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(VERSION));
        let base = self.base();
        let stream = stream.get(..end).unwrap_or(stream);
        let State::Search(Search { request: Some(searched), .. }) = self.state else { return None };
        let mut from = (searched as usize).max(base);
        // The beginning of a version may stand at the end.
        let mut next = end.saturating_sub(VERSION.len() - 1).max(from);
        let mut found = None;
        while let Some(at) = stream.get(from..end).and_then(|rest| FINDER.find(rest)) {
            let version = from + at;
            from = version + 1;
            let rest = stream.get(version..).unwrap_or_default();
            let window = rest.get(..VERSION_BYTES_MAX).unwrap_or(rest);
            let Some(length) = memchr(b'\n', window) else {
                if window.len() < VERSION_BYTES_MAX {
                    // Its line has not ended yet.
                    next = version;
                    break;
                }
                continue;
            };
            let earliest = base.max(version.saturating_sub(REQUEST_LINE_BYTES_MAX));
            let before = stream.get(earliest..version).unwrap_or_default();
            let line_start = memrchr(b'\n', before).map_or(earliest, |at| earliest + at + 1);
            let line = stream.get(line_start..version + length).unwrap_or_default();
            let start = http::behind_junk(line).map(|junk| line_start + junk);
            let is_near = |start: usize| self.may_begin_inside || start <= base + JUNK_BYTES_MAX;
            if let Some(start) = start.filter(|&start| is_near(start)) {
                found = Some(start);
                break;
            }
        }
        let looks_on = self.looks_for_requests(next as u32);
        if let State::Search(search) = &mut self.state {
            search.request = looks_on.then_some(next as u32);
        }
        found
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

/// Searches unknown bytes for a hello from `searched` on and updates it.
fn search_hello(stream: &[u8], base: usize, searched: &mut u32, bytes_max: usize) -> Step {
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
