//! The client's side of a connection on which an HTTP request was found: names the hosts of all its later requests. Heads
//! are read in order; content is skipped by its length and never held. Where bytes are missing, reading goes on at the next
//! segment that begins with a request.
//!
//! Not covered: the first request, which the connection's [`Stream`](crate::stream::Stream) reads in all its versions.

use vigie_decode::Segment;
use vigie_wire::assembly::{Assembly, InsertError};

use super::{HttpReader, Step, begins_request, is_line_space};
use crate::name_hash::name_hash;
use crate::opening::{Desync, Opening};
use crate::prelude::HANDSHAKE_RECORD;
use crate::{Counts, Limits};

/// Segments behind a gap after which the gap is not waited for any more.
const GAP_SEGMENTS_MAX: u8 = 8;

/// A host that a request names.
#[derive(Clone, Copy, Debug)]
pub struct RequestedHost<'a> {
    /// As it was written, neither port nor brackets.
    pub name: &'a [u8],
    /// The request's method.
    pub method: &'a str,
    /// Whether the request is a CONNECT.
    pub is_connect: bool,
    /// Why other bytes of the connection contradict these.
    pub desync: Desync,
}

/// Who receives the hosts that are new on a connection.
pub type VisitHost<'v> = &'v mut dyn FnMut(&RequestedHost<'_>);

/// What a segment leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More requests may follow.
    More,
    /// A CONNECT, or a hello: from this sequence number on another protocol may follow.
    Tunnel {
        /// Where it begins.
        first_byte: u32,
    },
    /// No more is read.
    End,
}

/// A connection of HTTP.
#[derive(Debug)]
pub struct HttpConnection {
    reader: HttpReader,
    /// Bytes that are not read yet: an unfinished line, and pieces behind a gap.
    assembly: Assembly,
    opening: Option<Opening>,
    /// Sequence number of the first byte of `assembly`.
    next: u32,
    /// Where the content begins that was skipped last, and how much it was.
    content: (u32, u32),
    /// Where a request begins is not known.
    is_lost: bool,
    /// Requests contradict each other, so what was taken for content may be requests.
    is_contradicted: bool,
    /// Segments that came behind the gap.
    gap_segments: u8,
    /// Segments without a request since its place was lost.
    lost_segments: u32,
    /// Hashes of the hosts that were visited, the oldest first.
    hosts: Vec<u32>,
    /// Set where requests end: nothing more is read.
    end: Option<Progress>,
}

impl HttpConnection {
    /// A connection that was read so far: `view` are the bytes of its first request and what came behind, beginning at
    /// this sequence number, and `reader` has read some of them. The hosts in there were visited.
    pub fn resume(
        reader: HttpReader,
        view: &[u8],
        first_byte: u32,
        limits: &Limits,
        counts: &mut Counts,
    ) -> (Self, Progress) {
        let hosts = reader.hosts().to_vec();
        let mut connection = Self {
            reader,
            assembly: Assembly::default(),
            opening: None,
            next: first_byte,
            content: (first_byte, 0),
            is_lost: false,
            is_contradicted: false,
            gap_segments: 0,
            lost_segments: 0,
            hosts,
            end: None,
        };
        let progress = connection.read(view, limits, counts, &mut |_| {});
        connection.end = Some(progress).filter(|progress| *progress != Progress::More);
        (connection, progress)
    }

    /// Bytes of memory held, those of the struct itself among them.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.assembly.capacity() + self.hosts.capacity() * size_of::<u32>()
    }

    /// Hashes of the hosts that were visited.
    pub(crate) fn hosts(&self) -> &[u32] {
        &self.hosts
    }

    /// How the connection was opened, to be noted more of.
    pub const fn opening_mut(&mut self) -> Option<&mut Opening> {
        self.opening.as_mut()
    }

    /// How the connection was opened, which proves some segments void.
    pub const fn set_opening(&mut self, opening: Option<Opening>) {
        self.opening = opening;
    }

    /// How the connection was opened.
    pub const fn opening(&self) -> Option<Opening> {
        self.opening
    }

    /// Whether requests contradict each other.
    pub const fn is_contradicted(&self) -> bool {
        self.is_contradicted
    }

    /// Takes note that the first request is not the only version of it.
    pub const fn note_contradiction(&mut self) {
        self.is_contradicted = true;
    }

    /// Whether all bytes of a segment were read before, or skipped.
    pub fn has_read(&self, segment: &Segment<'_>) -> bool {
        let distance = segment.sequence.wrapping_sub(self.next) as i32;
        distance < 0 && distance.unsigned_abs() as usize >= segment.payload.len()
    }

    /// Whether this segment is the end of what the client sends.
    pub fn is_end(&self, segment: &Segment<'_>) -> bool {
        let end = segment.sequence.wrapping_add(segment.payload.len() as u32);
        segment.flags & Segment::RST != 0 || segment.flags & Segment::FIN != 0 && end == self.next
    }

    /// Takes a segment of the client with payload, and visits the hosts in it that are new on the connection. Where requests
    /// have ended, each further segment leads to the same.
    pub fn segment(
        &mut self,
        segment: &Segment<'_>,
        limits: &Limits,
        counts: &mut Counts,
        visit: VisitHost<'_>,
    ) -> Progress {
        let progress = self.end.unwrap_or_else(|| self.next_segment(segment, limits, counts, visit));
        self.end = Some(progress).filter(|progress| *progress != Progress::More);
        progress
    }

    fn next_segment(
        &mut self,
        segment: &Segment<'_>,
        limits: &Limits,
        counts: &mut Counts,
        visit: VisitHost<'_>,
    ) -> Progress {
        let payload = segment.payload;
        let distance = segment.sequence.wrapping_sub(self.next) as i32;
        if self.has_read(segment) || self.is_lost && distance < 0 {
            return self.old_segment(segment, limits, counts, visit);
        }
        if !self.reader.is_in_head()
            && let Some(opening) = &mut self.opening
        {
            opening.forget_windows();
        }
        if self.is_void(segment, counts) {
            return Progress::More;
        }
        if self.is_lost {
            return self.lost_segment(segment, limits, counts, visit);
        }
        let (offset, payload) = match usize::try_from(distance) {
            Ok(offset) => (offset, payload),
            Err(_) => (0, payload.get(distance.unsigned_abs() as usize..).unwrap_or_default()),
        };
        if offset == 0 && self.assembly.is_empty() {
            return self.read(payload, limits, counts, visit);
        }
        if offset > self.assembly.contiguous().len() {
            self.gap_segments = self.gap_segments.saturating_add(1);
            let is_request = self.reader.awaits_head() && begins_request(payload);
            if is_request || self.gap_segments >= GAP_SEGMENTS_MAX {
                self.lose();
                return self.lost_segment(segment, limits, counts, visit);
            }
            if !payload.first().is_some_and(|&first| first.is_ascii_graphic() || is_line_space(first)) {
                return Progress::More;
            }
        }
        match self.assembly.insert(offset, payload, limits.stream_bytes_max) {
            Ok(_) => {}
            Err(InsertError::BeyondLimit) => counts.stream_too_long += 1,
            Err(InsertError::TooManyIslands) => counts.stream_too_many_gaps += 1,
        }
        self.read_assembly(limits, counts, visit)
    }

    /// Whether the server surely drops a segment.
    fn is_void(&mut self, segment: &Segment<'_>, counts: &mut Counts) -> bool {
        let reason = self.opening.as_mut().and_then(|opening| opening.why_void(segment, true));
        reason.inspect(|reason| counts.count_void(*reason)).is_some()
    }

    /// Takes a segment whose bytes were read before, or skipped as content. If it is a request, the one read before may have
    /// been a decoy.
    fn old_segment(
        &mut self,
        segment: &Segment<'_>,
        limits: &Limits,
        counts: &mut Counts,
        visit: VisitHost<'_>,
    ) -> Progress {
        let (content, content_bytes) = self.content;
        let is_content = segment.sequence.wrapping_sub(content) < content_bytes;
        if is_content && !self.is_contradicted || !begins_request(segment.payload) || self.is_void(segment, counts) {
            return Progress::More;
        }
        let mut reader = HttpReader::default();
        let mut has_new = false;
        self.read_hosts(&mut reader, segment.payload, Desync::OVERLAP, limits, counts, &mut |host| {
            has_new = true;
            visit(host);
        });
        self.is_contradicted |= has_new;
        Progress::More
    }

    /// Takes a segment while it is not known where a request begins.
    fn lost_segment(
        &mut self,
        segment: &Segment<'_>,
        limits: &Limits,
        counts: &mut Counts,
        visit: VisitHost<'_>,
    ) -> Progress {
        if begins_request(segment.payload) {
            self.next = segment.sequence;
            (self.reader, self.is_lost, self.lost_segments) = (HttpReader::default(), false, 0);
            return self.read(segment.payload, limits, counts, visit);
        }
        if is_record(segment.payload) {
            return Progress::Tunnel { first_byte: segment.sequence };
        }
        self.lost_segments += 1;
        if self.lost_segments as usize >= limits.http.lost_segments_max {
            counts.http_lost_segments += 1;
            return Progress::End;
        }
        Progress::More
    }

    /// Forgets where requests begin.
    fn lose(&mut self) {
        self.assembly.release();
        (self.is_lost, self.gap_segments, self.lost_segments) = (true, 0, 0);
    }

    /// Reads bytes that begin at `next`, and keeps those that are needed again.
    fn read(&mut self, bytes: &[u8], limits: &Limits, counts: &mut Counts, visit: VisitHost<'_>) -> Progress {
        let consumed = match self.consume(bytes, limits, counts, visit) {
            Ok(consumed) => consumed,
            Err(progress) => return progress,
        };
        if let Some(rest) = bytes.get(consumed..).filter(|rest| !rest.is_empty()) {
            let _ = self.assembly.insert(0, rest, limits.stream_bytes_max);
        }
        Progress::More
    }

    /// Reads on in what is held, as far as it has no gap.
    fn read_assembly(&mut self, limits: &Limits, counts: &mut Counts, visit: VisitHost<'_>) -> Progress {
        loop {
            let mut assembly = std::mem::take(&mut self.assembly);
            match self.consume(assembly.contiguous(), limits, counts, visit) {
                Ok(0) => {
                    self.assembly = assembly;
                    return Progress::More;
                }
                Ok(consumed) => {
                    self.gap_segments = 0;
                    assembly.rebase(consumed);
                    if assembly.is_empty() {
                        return Progress::More;
                    }
                    assembly.trim();
                    self.assembly = assembly;
                }
                Err(progress) => return progress,
            }
        }
    }

    /// Reads bytes that begin at `next`, and moves it on: how many of them are not needed again, or to be skipped.
    fn consume(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        counts: &mut Counts,
        visit: VisitHost<'_>,
    ) -> Result<usize, Progress> {
        let mut consumed = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let mut reader = std::mem::take(&mut self.reader);
            let step = self.read_hosts(&mut reader, rest, Desync::default(), limits, counts, visit);
            self.reader = reader;
            match step {
                Step::NeedMore | Step::Host { .. } => {
                    return Ok(consumed + self.forget_read());
                }
                Step::Skip { offset, bytes: skipped } => {
                    let content = self.next.wrapping_add(offset as u32);
                    self.content = (content, skipped as u32);
                    self.next = content.wrapping_add(skipped as u32);
                    consumed += offset + usize::try_from(skipped).unwrap_or(usize::MAX);
                }
                // The proxy refused.
                Step::Tunnel { offset } if begins_request(rest.get(offset..).unwrap_or_default()) => {
                    consumed += self.forget_read();
                }
                Step::Tunnel { offset } => {
                    return Err(Progress::Tunnel { first_byte: self.next.wrapping_add(offset as u32) });
                }
                Step::NotHttp { offset } if rest.get(offset..).is_some_and(is_record) => {
                    return Err(Progress::Tunnel { first_byte: self.next.wrapping_add(offset as u32) });
                }
                Step::NotHttp { .. } => {
                    self.lose();
                    return Err(Progress::More);
                }
                Step::LimitReached(limit) => {
                    counts.count_http_limit(limit);
                    return Err(Progress::End);
                }
            }
        }
    }

    /// Moves on behind the bytes that are not needed again: how many they are.
    fn forget_read(&mut self) -> usize {
        let read = self.reader.forgettable();
        self.reader.forget(read);
        self.next = self.next.wrapping_add(read as u32);
        read
    }

    /// Reads `bytes` up to what is no host, and visits the hosts that are new.
    fn read_hosts(
        &mut self,
        reader: &mut HttpReader,
        bytes: &[u8],
        desync: Desync,
        limits: &Limits,
        counts: &mut Counts,
        visit: VisitHost<'_>,
    ) -> Step {
        loop {
            let step = reader.advance(bytes, &limits.http);
            let Step::Host { host, .. } = step else { return step };
            let name = bytes.get(host).unwrap_or_default();
            if self.is_new(name, limits, counts) {
                let (method, is_connect) = (reader.method(), reader.is_connect());
                visit(&RequestedHost { name, method, is_connect, desync });
            }
        }
    }

    /// Whether a host was not visited yet. Of too many the one that was visited first is forgotten.
    fn is_new(&mut self, name: &[u8], limits: &Limits, counts: &mut Counts) -> bool {
        let hash = name_hash(name);
        if self.hosts.contains(&hash) {
            return false;
        }
        if self.hosts.len() >= limits.http.hosts_max {
            counts.http_hosts += 1;
            self.hosts.remove(0);
        }
        self.hosts.push(hash);
        true
    }
}

/// Whether bytes begin like a TLS record with a handshake message.
const fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE_RECORD, 3, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "GET / HTTP/1.1\r\nHost: first.example\r\n\r\n";
    const FIRST_BYTE: u32 = u32::MAX - 100;

    struct Connection {
        http: HttpConnection,
        counts: Counts,
        limits: Limits,
        progress: Progress,
        /// Bytes said so far.
        said: usize,
    }

    impl Connection {
        fn new() -> Self {
            let (limits, mut counts) = (Limits::default(), Counts::default());
            let (http, progress) =
                HttpConnection::resume(HttpReader::default(), FIRST.as_bytes(), FIRST_BYTE, &limits, &mut counts);
            assert_eq!(progress, Progress::More);
            Self { http, counts, limits, progress, said: FIRST.len() }
        }

        /// The hosts that a segment at this offset of the connection brings.
        fn say_at(&mut self, offset: usize, payload: &str) -> Vec<String> {
            let sequence = FIRST_BYTE.wrapping_add(offset as u32);
            let segment = Segment::without_header(sequence, Segment::ACK, payload.as_bytes());
            let mut hosts = Vec::new();
            self.progress = self.http.segment(&segment, &self.limits, &mut self.counts, &mut |host| {
                hosts.push(String::from_utf8_lossy(host.name).into_owned());
            });
            hosts
        }

        fn say(&mut self, payload: &str) -> Vec<String> {
            let hosts = self.say_at(self.said, payload);
            self.said += payload.len();
            hosts
        }
    }

    fn request(host: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
    }

    #[test]
    fn each_host_is_visited_once() {
        let mut connection = Connection::new();
        assert_eq!(connection.say(FIRST), [""; 0]);
        assert_eq!(connection.say(&request("two.example")), ["two.example"]);
        assert_eq!(connection.say(&request("TWO.example").repeat(3)), [""; 0]);
        let pipelined = [request("three.example"), request("two.example"), request("four.example")].concat();
        assert_eq!(connection.say(&pipelined), ["three.example", "four.example"]);
        for _ in 0..1000 {
            assert_eq!(connection.say(&request("two.example")), [""; 0]);
        }
        assert!(connection.http.memory_bytes() < 700, "{}", connection.http.memory_bytes());
    }

    #[test]
    fn where_requests_have_ended_nothing_more_is_read() {
        let tunnel = Progress::Tunnel { first_byte: FIRST_BYTE.wrapping_add(FIRST.len() as u32) };
        let behind = [FIRST.as_bytes(), &[HANDSHAKE_RECORD, 3, 1]].concat();
        let (limits, mut counts) = (Limits::default(), Counts::default());
        let (http, progress) = HttpConnection::resume(HttpReader::default(), &behind, FIRST_BYTE, &limits, &mut counts);
        assert_eq!(progress, tunnel);
        let mut connection = Connection { http, counts, limits, progress, said: behind.len() };
        for _ in 0..3 {
            assert_eq!((connection.say(&request("two.example")), connection.progress), (vec![], tunnel));
        }
        let mut connection = Connection::new();
        connection.say("CONNECT two.example:443 HTTP/1.1\r\n\r\n");
        let tunnel = connection.progress;
        assert!(matches!(tunnel, Progress::Tunnel { .. }));
        assert_eq!((connection.say("x"), connection.progress), (vec![], tunnel));
    }

    #[test]
    fn of_too_many_hosts_the_oldest_is_forgotten() {
        let mut connection = Connection::new();
        connection.limits.http.hosts_max = 4;
        for number in 0..20 {
            let name = format!("h{number}.example");
            assert_eq!(connection.say(&request(&name)), [name]);
        }
        assert_eq!(connection.say(&request("h19.example")), [""; 0]);
        assert_eq!(connection.counts.http_hosts, 17);
    }

    #[test]
    fn pieces_in_any_order_and_again() {
        let text = request("two.example");
        let mut connection = Connection::new();
        let hosts: Vec<_> =
            text.as_bytes().chunks(1).flat_map(|byte| connection.say(str::from_utf8(byte).unwrap())).collect();
        assert_eq!(hosts, ["two.example"]);
        let mut connection = Connection::new();
        let (first, second) = text.split_at(20);
        assert_eq!(connection.say_at(FIRST.len() + 20, second), [""; 0]);
        assert_eq!(connection.say_at(FIRST.len(), first), ["two.example"]);
        assert_eq!(connection.say_at(FIRST.len() + 20, second), [""; 0]);
        assert_eq!(connection.http.assembly.capacity(), 0);
    }

    #[test]
    fn content_is_skipped_and_holds_no_requests() {
        let mut connection = Connection::new();
        let inner = request("inner.example");
        let head = format!("POST / HTTP/1.1\r\nHost: two.example\r\nContent-Length: {}\r\n\r\n", 2 * inner.len());
        assert_eq!(connection.say(&head), ["two.example"]);
        assert_eq!(connection.say(&inner), [""; 0]);
        assert_eq!(connection.say(&inner), [""; 0]);
        assert_eq!(connection.say(&request("three.example")), ["three.example"]);
        let chunked = "PUT / HTTP/1.1\r\nHost: four.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
        assert_eq!(connection.say(chunked), ["four.example"]);
        assert_eq!(connection.say("lo\r\n3\r\nabc\r\n0\r\n\r\nGET / HT"), [""; 0]);
        assert_eq!(connection.say("TP/1.1\r\nHost: five.example\r\n"), ["five.example"]);
    }

    #[test]
    fn after_a_gap_reading_goes_on_at_the_next_request() {
        let mut connection = Connection::new();
        connection.said += 5_000;
        assert_eq!(connection.say(&request("two.example")), ["two.example"]);
        assert_eq!(connection.say("\x01\x02 no HTTP\r\n"), [""; 0]);
        assert_eq!(connection.say("nor this"), [""; 0]);
        assert_eq!(connection.say(&request("three.example")), ["three.example"]);
        // In the content of a request whose chunks are not known.
        connection.say("PUT / HTTP/1.1\r\nHost: two.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
        connection.said += 1_000;
        for _ in 0..GAP_SEGMENTS_MAX {
            assert_eq!(connection.say("content"), [""; 0]);
        }
        assert_eq!(connection.say(&request("four.example")), ["four.example"]);
    }

    #[test]
    fn a_decoy_hides_no_request() {
        let mut connection = Connection::new();
        let at = connection.said;
        assert_eq!(connection.say(&request("decoy.example")), ["decoy.example"]);
        assert_eq!(connection.say_at(at, &request("truth.example")), ["truth.example"]);
        // A decoy that announces content.
        let at = connection.said;
        connection.say("GET / HTTP/1.1\r\nHost: decoy.example\r\nContent-Length: 1000000\r\n\r\n");
        assert_eq!(connection.say_at(at, &request("two.example")), ["two.example"]);
        assert_eq!(connection.say(&request("three.example")), ["three.example"]);
    }

    #[test]
    fn a_tunnel_ends_it() {
        let mut connection = Connection::new();
        let connect = "CONNECT www.tiktok.com:443 HTTP/1.1\r\n\r\n";
        assert_eq!(connection.say(connect), ["www.tiktok.com"]);
        let first_byte = FIRST_BYTE.wrapping_add(connection.said as u32);
        assert_eq!(connection.progress, Progress::Tunnel { first_byte });
        // RFC 2817 §3.
        let mut connection = Connection::new();
        connection.say("\x16\x03\x01\x01");
        let first_byte = FIRST_BYTE.wrapping_add(FIRST.len() as u32);
        assert_eq!(connection.progress, Progress::Tunnel { first_byte });
    }

    #[test]
    fn what_is_no_http_any_more_is_given_up() {
        let mut connection = Connection::new();
        let segments = (0..).find(|_| {
            connection.say("\x02binary frames");
            connection.progress == Progress::End
        });
        assert_eq!(segments, Some(connection.limits.http.lost_segments_max));
        assert_eq!(connection.counts.http_lost_segments, 1);
    }
}
