//! The HTTP requests of a connection that is inspected: those of its first segments, and what reads the rest.

use arrayvec::ArrayVec;
use vigie_decode::Segment;
use vigie_flow::Side;

use super::TcpInspector;
use crate::http::{HttpConnection, Progress, RequestedHost, Step, VisitHost, begins_request};
use crate::name_hash::name_hash;
use crate::opening::Desync;
use crate::{Counts, Limits};

/// Hosts of a connection's first HTTP segment that are told apart.
const FIRST_HOSTS_MAX: usize = 16;

impl TcpInspector {
    /// Whether one side's stream is of HTTP, and no hello is expected on it.
    pub fn is_http(&self, side: Side) -> bool {
        match side {
            Side::Low => self.low.is_http(),
            Side::High => self.high.is_http(),
        }
    }

    /// Visits each host that the HTTP requests of one side's first segments name, and tells what follows.
    pub fn visit_hosts(&mut self, side: Side, limits: &Limits, visit: VisitHost<'_>) -> Progress {
        let Some((mut reader, mut view, mut first_byte)) = self.stream(side).http() else { return Progress::End };
        let mut seen: ArrayVec<u32, FIRST_HOSTS_MAX> = ArrayVec::new();
        loop {
            match reader.advance(view, &limits.http) {
                Step::Host { host, .. } => {
                    let name = view.get(host).unwrap_or_default();
                    let hash = name_hash(name);
                    if !seen.contains(&hash) {
                        let _ = seen.try_push(hash);
                        let (method, is_connect) = (reader.method(), reader.is_connect());
                        visit(&RequestedHost { name, method, is_connect, desync: Desync::default() });
                    }
                }
                Step::Skip { offset, bytes } => {
                    let end = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(offset);
                    view = view.get(end..).unwrap_or_default();
                    first_byte = first_byte.wrapping_add(end as u32);
                }
                // The proxy refused.
                Step::Tunnel { offset } if begins_request(view.get(offset..).unwrap_or_default()) => {}
                Step::Tunnel { offset } => {
                    return Progress::Tunnel { first_byte: first_byte.wrapping_add(offset as u32) };
                }
                _ => return Progress::More,
            }
        }
    }

    /// Prepares for further segments of HTTP's client, before the next one is taken. False if the stream is not of HTTP.
    pub fn expect_requests(&mut self, side: Side, limits: &Limits, counts: &mut Counts) -> bool {
        if self.http.is_none() {
            self.http = self.begin_http(side, limits, counts).map(|(http, _)| http);
        }
        self.http.is_some()
    }

    /// Takes note that requests of the client contradict each other.
    pub fn note_contradiction(&mut self) {
        if let Some(http) = &mut self.http {
            http.note_contradiction();
        }
    }

    /// Takes a segment of HTTP's client that came after its first request was reported, and visits the hosts that are new
    /// in it. Other versions of bytes that came before are for [`next_reading`](Self::next_reading).
    pub fn http_segment(
        &mut self,
        segment: &Segment<'_>,
        limits: &Limits,
        counts: &mut Counts,
        visit: VisitHost<'_>,
    ) -> Progress {
        match &mut self.http {
            Some(http) if !http.has_read(segment) || http.is_contradicted() => {
                http.segment(segment, limits, counts, visit)
            }
            _ => Progress::More,
        }
    }

    /// What reads the rest of a connection of HTTP, and what follows where it ends at once.
    pub fn take_http(
        &mut self,
        side: Side,
        limits: &Limits,
        counts: &mut Counts,
    ) -> Option<(Box<HttpConnection>, Progress)> {
        let taken = self.http.take().map(|http| (http, Progress::More));
        let (mut http, progress) = taken.or_else(|| self.begin_http(side, limits, counts))?;
        http.set_opening(self.opening.filter(|opening| opening.client() == side));
        Some((http, progress))
    }

    /// Makes a reader of all requests, which has read the bytes that are held.
    fn begin_http(
        &mut self,
        side: Side,
        limits: &Limits,
        counts: &mut Counts,
    ) -> Option<(Box<HttpConnection>, Progress)> {
        let (reader, view, first_byte) = self.stream(side).http()?;
        let (http, progress) = HttpConnection::resume(reader, view, first_byte, limits, counts);
        Some((Box::new(http), progress))
    }
}
