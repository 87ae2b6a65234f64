//! A capture or a tape read by the sensor, and what it said, as short lines that tests compare.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;

use vigie::event::{DnsAnswer, Event, Fact, Flow, Hello, HelloTransport, HttpRequest, Sighting};
use vigie::read::{self, Settings, Totals, read_parallel};
use vigie::record::{self, Context};
use vigie::worker::EventTypes;
use vigie_capture::{CaptureError, Files, FilesOptions, Source, SourceStatistics};
use vigie_signatures::Bundle;

use crate::tape::Tape;

/// What the sensor said of a capture.
#[derive(Clone, Debug)]
pub struct Replay {
    /// All events.
    pub events: Vec<Event>,
    /// What was counted.
    pub totals: Totals,
    /// What the source said of itself.
    pub statistics: SourceStatistics,
    /// The names of the capture's interfaces.
    pub interfaces: Vec<String>,
}

/// Alerts, and a record of every hello and every DNS answer.
pub fn everything_named() -> Settings {
    Settings {
        event_types: EventTypes { tls: true, quic: true, http: true, dns: true, ..EventTypes::default() },
        ..Settings::default()
    }
}

/// Reads a capture file.
///
/// # Errors
/// It cannot be read.
pub fn file(path: &Path, settings: &Settings) -> Result<Replay, CaptureError> {
    source(&mut Files::open(&[path], &FilesOptions::default())?, settings)
}

/// Reads a capture file by several workers; gives the events.
pub fn side_by_side(path: &Path, workers: usize, settings: &Settings) -> Vec<Event> {
    let mut source = Files::open(&[path], &FilesOptions::default()).unwrap();
    let mut events = Vec::new();
    let (_, error) =
        read_parallel(workers, &mut source, settings, &Bundle::builtin(), &mut |progress: read::Progress<'_>| {
            events.append(progress.events);
            ControlFlow::Continue(())
        });
    assert!(error.is_none(), "{error:?}");
    events
}

/// Reads a source to its end.
///
/// # Errors
/// It cannot be read.
pub fn source(source: &mut dyn Source, settings: &Settings) -> Result<Replay, CaptureError> {
    let mut events = Vec::new();
    let totals = read::read(source, settings, Bundle::builtin(), &mut |event| events.push(event))?;
    let interfaces = (0..).map_while(|number| source.interface_name(number).map(str::to_owned)).collect();
    Ok(Replay { events, totals, statistics: source.statistics(), interfaces })
}

impl Tape {
    /// What the sensor says of the tape.
    pub fn replay(&self) -> Replay {
        self.replay_with(&everything_named())
    }

    /// What it says with these settings.
    pub fn replay_with(&self, settings: &Settings) -> Replay {
        source(&mut self.clone(), settings).unwrap()
    }
}

impl Replay {
    /// All hellos with their flows.
    pub fn hellos(&self) -> impl Iterator<Item = (&Flow, &Hello)> {
        self.events.iter().filter_map(|event| match &event.fact {
            Fact::Hello(flow, hello) => Some((&**flow, &**hello)),
            _ => None,
        })
    }

    /// All alerts.
    pub fn alerts(&self) -> impl Iterator<Item = &Sighting> {
        self.events.iter().filter_map(|event| match &event.fact {
            // Those that speak for themselves; the others only support them.
            Fact::Sighting(alert) if alert.rule.raises_alert() => Some(&**alert),
            _ => None,
        })
    }

    /// All DNS answers with their flows.
    pub fn answers(&self) -> impl Iterator<Item = (&Flow, &DnsAnswer)> {
        self.events.iter().filter_map(|event| match &event.fact {
            Fact::Dns(flow, answer) => Some((&**flow, &**answer)),
            _ => None,
        })
    }

    /// All HTTP requests that were reported, with their flows.
    pub fn requests(&self) -> impl Iterator<Item = (&Flow, &HttpRequest)> {
        self.events.iter().filter_map(|event| match &event.fact {
            Fact::Http(flow, request) => Some((&**flow, &**request)),
            _ => None,
        })
    }

    /// A line for each hello: `tls 10.0.0.1:40000 > 192.0.2.1:443 www.tiktok.com`, `(partial)` added where it is.
    pub fn said(&self) -> Vec<String> {
        self.hellos()
            .map(|(flow, hello)| {
                let name = hello.server_name.as_deref().unwrap_or("-");
                let partial = if hello.partial { " (partial)" } else { "" };
                format!("{} {} {name}{partial}", transport(hello), ends(flow))
            })
            .collect()
    }

    /// A line for each alert: `tls-sni 10.0.0.1:40000 > 192.0.2.1:443 www.tiktok.com: tiktok`.
    pub fn alerted(&self) -> Vec<String> {
        self.alerts()
            .map(|alert| {
                let name = alert.name.as_deref().unwrap_or("-");
                format!("{} {} {name}: {}", alert.evidence.as_str(), ends(&alert.flow), alert.rule.service)
            })
            .collect()
    }

    /// The events as lines of EVE, as `vigie read --json` writes them.
    pub fn eve(&self) -> String {
        eve(&self.events, &self.interfaces)
    }

    /// How often something was counted.
    pub fn count(&self, family: &str, reason: &str) -> u64 {
        count(&self.totals, family, reason)
    }
}

/// How often something was counted.
pub fn count(totals: &Totals, family: &str, reason: &str) -> u64 {
    totals.counters.iter().filter(|(f, r, _)| (*f, *r) == (family, reason)).map(|(_, _, count)| count).sum()
}

/// Events as lines of EVE.
pub fn eve(events: &[Event], interfaces: &[String]) -> String {
    let interfaces = interfaces.to_vec();
    let context = Context { interfaces, bundle: Some(Bundle::builtin()), ..Context::default() };
    let mut lines = Vec::new();
    events.iter().for_each(|event| record::encode(event, &context, &mut lines));
    String::from_utf8(lines).unwrap()
}

/// Over what a hello came, as the truth files call it.
pub const fn transport(hello: &Hello) -> &'static str {
    match hello.transport {
        HelloTransport::Tcp => "tls",
        HelloTransport::Dtls => "dtls",
        HelloTransport::Quic(_) => "quic",
    }
}

/// A flow's ends.
pub fn ends(flow: &Flow) -> String {
    format!("{} > {}", client(flow), server(flow))
}

/// The client's end.
pub fn client(flow: &Flow) -> SocketAddr {
    SocketAddr::new(flow.client.ip(), flow.client_port)
}

/// The server's end.
pub fn server(flow: &Flow) -> SocketAddr {
    SocketAddr::new(flow.server.ip(), flow.server_port)
}
