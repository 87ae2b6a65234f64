//! The hosts that HTTP/1 requests are for (RFC 9112), as servers and proxies read them: Host headers, authorities of
//! absolute targets, targets of CONNECT, in every request of a connection. Bodies are skipped by their length.
//!
//! The `httparse` crate reads the sizes of chunks. It does not read heads: it wants a head whole, of bounded length, and
//! rejects what lenient servers accept.
//!
//! Not covered: HTTP/2 without TLS, and responses.

mod connection;
mod host;
mod limits;
mod request_line;

use std::ops::Range;

use arrayvec::{ArrayString, ArrayVec};
use memchr::memchr;

pub use connection::{HttpConnection, Progress, RequestedHost, VisitHost};
pub use host::HOST_BYTES_MAX;
pub use limits::{HttpLimit, HttpLimits};
pub use request_line::METHOD_BYTES_MAX;
pub(crate) use request_line::behind_junk;

use crate::name_hash::name_hash;
use host::Host;
use request_line::{RequestLine, is_absolute, is_blank, is_token, may_begin};

/// Longest line that is held. What is longer is skipped to its end, unless it is a Host header that begins with so many blanks.
pub const LINE_BYTES_MAX: usize = 8192;

/// How many bytes of empty lines may stand in front of a request; a server should skip at least one (RFC 9112 §2.2).
const EMPTY_LINES_BYTES_MAX: u32 = 256;

/// Longest request line that is recognised where content may come.
const EXPECTED_LINE_BYTES_MAX: usize = 1024;

/// Longest line with the size of a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// The most content that is skipped in one step: sequence numbers tell forward from backward by half their space.
const SKIP_BYTES_MAX: u64 = 1 << 30;

/// How many different hosts of one request are reported.
pub const HOSTS_MAX: usize = 8;

/// Whether a stream that begins with these bytes may begin with a request. If not, an [`HttpReader`] finds none either.
#[inline]
pub fn may_be_request(stream: &[u8]) -> bool {
    first_line(stream).is_some_and(|(line, _)| may_begin(line))
}

/// Whether bytes surely begin with a request, however long its first line is.
pub fn begins_request(bytes: &[u8]) -> bool {
    // Most bytes that begin none show it at once, without a search for the end of their line.
    if bytes.iter().take(METHOD_BYTES_MAX).take_while(|byte| !is_line_space(**byte)).any(|&byte| !is_token(byte)) {
        return false;
    }
    match first_line(bytes) {
        Some((line, _)) if !may_begin(line) => false,
        Some((line, true)) => RequestLine::parse(line).or_else(|| RequestLine::parse_without_version(line)).is_some(),
        Some((line, false)) => RequestLine::parse_cut(line).is_some(),
        None => false,
    }
}

/// Whether a header line is a Host header with a value in it.
pub(crate) fn names_host(line: &[u8]) -> bool {
    let colon = memchr(b':', line);
    colon.and_then(|colon| line.split_at_checked(colon)).is_some_and(|(name, value)| {
        is_host(name) && value.get(1..).is_some_and(|value| !value.trim_ascii().is_empty())
    })
}

/// The first line of a stream that is not empty, without the blanks in front of it, as far as it has come and is held, and
/// whether that is to its end. `None` if too much stands in front of it.
#[inline]
fn first_line(stream: &[u8]) -> Option<(&[u8], bool)> {
    let space = stream.iter().take(EMPTY_LINES_BYTES_MAX as usize + 1).take_while(|byte| is_line_space(**byte));
    let start = Some(space.count()).filter(|count| *count <= EMPTY_LINES_BYTES_MAX as usize)?;
    let rest = stream.get(start..)?;
    let line = rest.get(..LINE_BYTES_MAX).unwrap_or(rest);
    match memchr(b'\n', line) {
        Some(end) => Some((line.get(..end)?, true)),
        None => Some((line, false)),
    }
}

const fn is_line_space(byte: u8) -> bool {
    byte == b'\n' || is_blank(byte)
}

/// What to do next with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask again when the stream is longer.
    NeedMore,
    /// The request names a host. Ask again at once.
    Host {
        /// Where in the stream it stands, neither port nor brackets: 1 to [`HOST_BYTES_MAX`] bytes.
        host: Range<usize>,
        /// The port behind it, if one is written.
        port: Option<u16>,
    },
    /// The head of a CONNECT ends here: what follows is the tunnelled stream, or another request if the proxy refused.
    Tunnel {
        /// Offset of the first byte behind the head.
        offset: usize,
    },
    /// Content follows. The stream is to be continued behind it, which may not have come yet.
    Skip {
        /// Where in the stream the content begins.
        offset: usize,
        /// Its length.
        bytes: u64,
    },
    /// From this offset on there is no request.
    NotHttp {
        /// Offset of what is none.
        offset: usize,
    },
    /// Nothing more is read of the connection.
    LimitReached(HttpLimit),
}

/// What a line, or other bytes, are expected to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expected {
    #[default]
    RequestLine,
    Header,
    /// So much content is left.
    Content(u64),
    ChunkSize,
    /// The line end behind a chunk.
    ChunkEnd,
    Trailer,
}

/// The headers that may be continued on the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    Other,
    Host,
}

/// A host that is yet to be reported.
#[derive(Clone, Copy, Debug)]
struct PendingHost {
    start: u32,
    length: u8,
    port: Option<u16>,
}

const _: () = assert!(HOST_BYTES_MAX <= u8::MAX as usize);

/// Reads the requests of one connection from a growing prefix of the client's stream. Complete lines are read once, the
/// end of the unfinished line is searched in new bytes only: all calls together take time linear in the stream.
#[derive(Clone, Debug, Default)]
pub struct HttpReader {
    expected: Expected,
    /// Start of the first line not yet read.
    line_start: usize,
    /// No line feed stands between `line_start` and here.
    searched: usize,
    /// The current line is too long, and what was of use of it is read.
    skips_line: bool,
    /// What comes next is the rest of a Host header whose line is too long.
    continues_host: bool,
    /// Hosts of the last line that are yet to be reported.
    pending: ArrayVec<PendingHost, HOSTS_MAX>,
    requests: u32,
    head_bytes: u32,
    method: ArrayString<METHOD_BYTES_MAX>,
    /// Hashes of the current request's hosts.
    hosts: ArrayVec<u32, HOSTS_MAX>,
    /// Of the current head.
    last_header: Option<Header>,
    content_length: Option<u64>,
    is_chunked: bool,
    /// The client may not send the content (RFC 9110 §10.1.1).
    expects_continue: bool,
}

impl HttpReader {
    /// The method of the current request.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Whether the current request asks for a tunnel.
    pub fn is_connect(&self) -> bool {
        self.method.eq_ignore_ascii_case("CONNECT")
    }

    /// Hashes of the hosts that the current request named so far.
    pub fn hosts(&self) -> &[u32] {
        &self.hosts
    }

    /// Whether a head is expected or read, not content.
    pub const fn awaits_head(&self) -> bool {
        matches!(self.expected, Expected::RequestLine | Expected::Header)
    }

    /// Whether the head of a request is read, but not to its end.
    pub const fn is_in_head(&self) -> bool {
        matches!(self.expected, Expected::Header)
    }

    /// Whether a request line was read.
    pub const fn has_request(&self) -> bool {
        self.requests > 0
    }

    /// How many request lines were read.
    pub const fn requests(&self) -> u32 {
        self.requests
    }

    /// How many bytes from the start of the stream will not be read again.
    pub fn forgettable(&self) -> usize {
        if self.pending.is_empty() { self.line_start } else { 0 }
    }

    /// From now on the stream comes without its first `bytes`, which must be [`forgettable`](Self::forgettable).
    pub fn forget(&mut self, bytes: usize) {
        self.line_start = self.line_start.saturating_sub(bytes);
        self.searched = self.searched.saturating_sub(bytes);
    }

    /// The next step, given `stream`, which must begin with what earlier calls were given.
    pub fn advance(&mut self, stream: &[u8], limits: &HttpLimits) -> Step {
        loop {
            if let Some(PendingHost { start, length, port }) = self.pending.pop_at(0) {
                let start = start as usize;
                return Step::Host { host: start..start + usize::from(length), port };
            }
            if let Expected::Content(length) = self.expected {
                match self.skip_content(stream, length) {
                    Some(step) => return step,
                    None => continue,
                }
            }
            let line = match self.next_line(stream) {
                Ok(line) => line,
                Err(step) => return step,
            };
            if let Some(step) = self.line(stream, &line, limits) {
                return step;
            }
        }
    }

    /// The next line, without its line feed. It is cut if it is longer than what is held of a line.
    fn next_line(&mut self, stream: &[u8]) -> Result<Line, Step> {
        loop {
            let found = stream.get(self.searched..).and_then(|rest| memchr(b'\n', rest));
            let (start, end) = (self.line_start, found.map_or(stream.len(), |length| self.searched + length));
            if self.expected == Expected::RequestLine && !self.skips_line {
                let line = stream.get(start..end).unwrap_or_default();
                if !self.may_be_request_line(line) {
                    return Err(Step::NotHttp { offset: start });
                }
            }
            if found.is_some() {
                (self.line_start, self.searched) = (end + 1, end + 1);
                if std::mem::take(&mut self.skips_line) {
                    continue;
                }
                let is_cut = end - start >= LINE_BYTES_MAX;
                let line = Line { range: start..end.min(start + LINE_BYTES_MAX), is_cut, continues_host: false };
                return Ok(if is_cut { self.cut_line(stream, line) } else { line });
            }
            self.searched = stream.len();
            if self.skips_line {
                self.line_start = stream.len();
            } else if stream.len() - start >= LINE_BYTES_MAX {
                (self.line_start, self.skips_line) = (stream.len(), true);
                let line = Line { range: start..start + LINE_BYTES_MAX, is_cut: true, continues_host: false };
                return Ok(self.cut_line(stream, line));
            }
            return Err(Step::NeedMore);
        }
    }

    /// Whether a line, of which so much has come, may be a request line or one of the empty ones in front of it. Judges the
    /// line alone: what else has come depends on how the stream was cut.
    fn may_be_request_line(&self, line: &[u8]) -> bool {
        let blanks = line.iter().take(EMPTY_LINES_BYTES_MAX as usize + 1).take_while(|byte| is_blank(**byte)).count();
        self.head_bytes as usize + blanks <= EMPTY_LINES_BYTES_MAX as usize
            && may_begin(line.get(blanks..).unwrap_or_default())
    }

    /// Goes on behind a line that is too long, if it is a Host header of which only blanks have come.
    #[cold]
    fn cut_line(&mut self, stream: &[u8], line: Line) -> Line {
        let text = stream.get(line.range.clone()).unwrap_or_default();
        let value = match memchr(b':', text) {
            _ if self.continues_host => Some(text),
            Some(colon) if is_host(text.get(..colon).unwrap_or_default()) => text.get(colon + 1..),
            _ => None,
        };
        let continues_host =
            self.expected == Expected::Header && value.is_some_and(|value| value.iter().all(|byte| is_blank(*byte)));
        if continues_host {
            (self.line_start, self.searched, self.skips_line) = (line.range.end, line.range.end, false);
        }
        Line { continues_host, ..line }
    }

    /// Reads a line. `None` to go on.
    fn line(&mut self, stream: &[u8], line: &Line, limits: &HttpLimits) -> Option<Step> {
        let offset = line.range.start;
        self.head_bytes = self.head_bytes.saturating_add(line.range.len() as u32 + 1);
        if self.head_bytes as usize > limits.head_bytes_max {
            return Some(Step::LimitReached(HttpLimit::HeadBytes));
        }
        let text = stream.get(line.range.clone()).unwrap_or_default();
        // Blanks continue a header.
        let is_empty = text.iter().all(|&byte| byte == b'\r');
        let blanks = text.iter().rev().take_while(|byte| is_blank(**byte)).count();
        let text = text.get(..text.len() - blanks).unwrap_or_default();
        let is_rest_of_host = std::mem::replace(&mut self.continues_host, line.continues_host);
        match self.expected {
            Expected::RequestLine => self.request_line(text, line.is_cut, offset, limits),
            Expected::Header if is_rest_of_host => {
                self.add_hosts(text, 0, offset);
                None
            }
            Expected::Header if is_empty => self.head_end(),
            Expected::Header => {
                self.header(text, offset);
                None
            }
            Expected::ChunkSize => self.chunk_size(text, offset),
            Expected::ChunkEnd => {
                self.expected = Expected::ChunkSize;
                (!text.is_empty()).then_some(Step::NotHttp { offset })
            }
            Expected::Trailer if is_empty => {
                self.end_request();
                None
            }
            Expected::Trailer | Expected::Content(_) => None,
        }
    }

    fn request_line(&mut self, text: &[u8], is_cut: bool, offset: usize, limits: &HttpLimits) -> Option<Step> {
        let not_http = Some(Step::NotHttp { offset });
        if text.is_empty() {
            return if self.head_bytes > EMPTY_LINES_BYTES_MAX { not_http } else { None };
        }
        let line = match is_cut {
            true => RequestLine::parse_cut(text),
            false => RequestLine::parse(text).or_else(|| RequestLine::parse_without_version(text)),
        };
        let Some(line) = line else { return not_http };
        if self.requests as usize >= limits.requests_max {
            return Some(Step::LimitReached(HttpLimit::Requests));
        }
        self.requests += 1;
        self.expected = Expected::Header;
        self.method.clear();
        let method = text.get(line.method).and_then(|method| std::str::from_utf8(method).ok());
        // No method that is read is longer.
        let _ = self.method.try_push_str(method.unwrap_or_default());
        if self.is_connect() || text.get(line.target.clone()).is_some_and(is_absolute) {
            self.add_host(host::host_in(text, line.target), text, offset);
        }
        None
    }

    /// Reads a header line, or the continuation of one (RFC 9112 §5.2).
    fn header(&mut self, text: &[u8], offset: usize) {
        let is_continued = self.last_header.is_some() && text.first().is_none_or(|&first| is_blank(first));
        if is_continued {
            if self.last_header == Some(Header::Host) {
                self.add_hosts(text, 0, offset);
            }
            return;
        }
        self.last_header = Some(Header::Other);
        let Some(colon) = memchr(b':', text) else { return };
        let (name, value) = (text.get(..colon).unwrap_or_default(), text.get(colon + 1..).unwrap_or_default());
        let name = name.trim_ascii();
        if is_host(name) {
            self.last_header = Some(Header::Host);
            self.add_hosts(text, colon + 1, offset);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.trim_ascii_start();
            let end = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = std::str::from_utf8(digits.get(..end).unwrap_or_default()).ok();
            self.content_length = number.and_then(|number| number.parse().ok());
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked |= value.to_ascii_lowercase().windows(7).any(|word| word == b"chunked");
        } else if name.eq_ignore_ascii_case(b"expect") {
            self.expects_continue = true;
        }
    }

    /// Adds the hosts in a header's value, which begins at `value_start` of its line.
    fn add_hosts(&mut self, text: &[u8], value_start: usize, offset: usize) {
        let value = text.get(value_start..).unwrap_or_default();
        for host in host::hosts(value).take(HOSTS_MAX) {
            self.add_host(Some(host), value, offset + value_start);
        }
    }

    /// Has a host in `text`, which begins at this offset of the stream, reported, unless the request named it before.
    fn add_host(&mut self, host: Option<Host>, text: &[u8], offset: usize) {
        let Some(host) = host else { return };
        let hash = name_hash(text.get(host.range.clone()).unwrap_or_default());
        if self.hosts.contains(&hash) || self.hosts.try_push(hash).is_err() {
            return;
        }
        // Offsets in what is held of a stream fit, hosts have at most 255 bytes, and a request has no more hosts than there
        // is room for.
        let (start, length) = ((offset + host.range.start) as u32, host.range.len() as u8);
        let _ = self.pending.try_push(PendingHost { start, length, port: host.port });
    }

    /// The empty line behind the headers.
    fn head_end(&mut self) -> Option<Step> {
        let is_connect = self.is_connect();
        self.head_bytes = 0;
        match self.content_length {
            _ if is_connect => self.end_request(),
            _ if self.is_chunked => self.expected = Expected::ChunkSize,
            Some(length @ 1..) => self.expected = Expected::Content(length),
            _ => self.end_request(),
        }
        is_connect.then_some(Step::Tunnel { offset: self.line_start })
    }

    /// The next request follows.
    fn end_request(&mut self) {
        self.expected = Expected::RequestLine;
        self.head_bytes = 0;
        self.hosts.clear();
        self.last_header = None;
        (self.content_length, self.is_chunked, self.expects_continue) = (None, false, false);
    }

    /// The size of a chunk (RFC 9112 §7.1), which may have extensions behind it.
    fn chunk_size(&mut self, text: &[u8], offset: usize) -> Option<Step> {
        let mut line: ArrayVec<u8, { CHUNK_LINE_BYTES_MAX + 2 }> = ArrayVec::new();
        let is_short = line.try_extend_from_slice(text).and_then(|()| line.try_extend_from_slice(b"\r\n")).is_ok();
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
            return Some(Step::NotHttp { offset });
        };
        if !is_short {
            return Some(Step::NotHttp { offset });
        }
        self.head_bytes = 0;
        self.expected = if size == 0 { Expected::Trailer } else { Expected::Content(size) };
        None
    }

    fn skip_content(&mut self, stream: &[u8], length: u64) -> Option<Step> {
        if self.expects_continue {
            let rest = stream.get(self.line_start..).unwrap_or_default();
            let line = rest.get(..EXPECTED_LINE_BYTES_MAX).unwrap_or(rest);
            let line_end = memchr(b'\n', line);
            let text = line.get(..line_end.unwrap_or(line.len())).unwrap_or_default();
            let may_begin = may_begin(text);
            if line_end.is_none() && line.len() < EXPECTED_LINE_BYTES_MAX && may_begin {
                return Some(Step::NeedMore);
            }
            self.expects_continue = false;
            if line_end.is_some() && may_begin && RequestLine::parse(text).is_some() {
                // The server refused, and the client goes on with another request.
                self.end_request();
                return None;
            }
        }
        if stream.is_empty() {
            return Some(Step::NeedMore);
        }
        let skipped = length.min(SKIP_BYTES_MAX);
        self.expected = match length - skipped {
            0 if self.is_chunked => Expected::ChunkEnd,
            0 => {
                self.end_request();
                Expected::RequestLine
            }
            left => Expected::Content(left),
        };
        let offset = std::mem::take(&mut self.line_start);
        self.searched = 0;
        Some(Step::Skip { offset, bytes: skipped })
    }
}

/// A line of the stream.
struct Line {
    range: Range<usize>,
    is_cut: bool,
    /// The rest of it is the next line, and the value of a Host header.
    continues_host: bool,
}

/// Whether this is the name of the Host header.
fn is_host(name: &[u8]) -> bool {
    name.trim_ascii().eq_ignore_ascii_case(b"host")
}

#[cfg(test)]
mod tests;
