//! What the screen shows: made of scrapes and events, without a terminal.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::events::{Coverage, Incident, News};
use crate::metrics::{Scrape, rate};

/// A scrape that is older tells nothing of now.
const FRESH: Duration = Duration::from_secs(5);
/// Incidents that are remembered.
const INCIDENTS_MAX: usize = 500;
/// Minutes of the bar of coverage.
pub const MINUTES: i64 = 60;
const MINUTE_US: i64 = 60_000_000;

/// Everything that is known.
#[derive(Debug, Default)]
pub struct View {
    before: Option<Scrape>,
    now: Option<Scrape>,
    /// Why the last scrape failed.
    pub scrape_error: Option<String>,
    /// Newest first, by when they opened.
    pub incidents: Vec<Incident>,
    /// By minute since 1970 and interface.
    minutes: BTreeMap<i64, BTreeMap<String, Minute>>,
    /// All events were read at least once.
    pub is_caught_up: bool,
    /// Why events cannot be read.
    pub events_error: Option<String>,
}

/// What was seen of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Minute {
    window_s: f64,
    blind_s: f64,
    has_losses: bool,
}

/// What the bar shows of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Whole,
    Lossy,
    Blind,
    Untold,
}

/// The last hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Hour {
    pub minutes: Vec<Seen>,
    pub seen_s: u64,
    pub lossy_s: u64,
    pub blind_s: u64,
    /// Whether there is any word of it.
    pub is_known: bool,
}

/// An interface, or several together. What is not known is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interface {
    pub name: String,
    pub packets: Option<f64>,
    pub bits: Option<f64>,
    pub drops: Option<f64>,
    pub dropped: Option<f64>,
    pub seen: Option<f64>,
    pub is_up: Option<bool>,
    pub is_silent: bool,
}

/// Whether the sensor can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Asking,
    Ready,
    NotReady(Vec<String>),
    NoMetrics(String),
}

/// What holds for the whole sensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    pub uptime_s: Option<u64>,
    pub busy: Option<f64>,
    pub flows: Option<f64>,
    pub slots: Option<f64>,
    pub hellos: Option<f64>,
    pub lost_events: Option<f64>,
    pub incidents_open: Option<f64>,
}

impl View {
    /// Takes the answer of the sensor's endpoint.
    pub fn scraped(&mut self, scrape: Result<Scrape, String>) {
        match scrape {
            Ok(scrape) => {
                // Rates over a time without answers would be wrong for now.
                self.before = if self.scrape_error.take().is_none() { self.now.take() } else { None };
                self.now = Some(scrape);
            }
            Err(error) => self.scrape_error = Some(error),
        }
    }

    /// Takes what an event tells.
    pub fn heard(&mut self, news: News) {
        match news {
            News::CaughtUp => {
                self.is_caught_up = true;
                self.events_error = None;
            }
            News::Failed(error) => self.events_error = Some(error),
            News::Incident(incident) => self.incident(incident),
            News::Coverage(coverage) => self.covered(&coverage),
        }
    }

    fn incident(&mut self, incident: Incident) {
        match self.incidents.iter_mut().find(|known| known.id == incident.id) {
            // It keeps its place, and the time at which it opened.
            Some(known) => *known = Incident { time_us: known.time_us, ..incident },
            None => {
                let place = self.incidents.partition_point(|known| known.time_us > incident.time_us);
                self.incidents.insert(place, incident);
                self.incidents.truncate(INCIDENTS_MAX);
            }
        }
    }

    fn covered(&mut self, coverage: &Coverage) {
        let window_us = (coverage.window_s.min(86_400) * 1_000_000) as i64;
        let (mut at, end) = (coverage.end_us.saturating_sub(window_us), coverage.end_us);
        let blind = coverage.blind_s.min(coverage.window_s) as f64 / coverage.window_s.max(1) as f64;
        while at < end {
            let minute = at.div_euclid(MINUTE_US);
            let until = end.min((minute + 1) * MINUTE_US);
            let seconds = (until - at) as f64 / 1e6;
            let known = self.minutes.entry(minute).or_default().entry(coverage.interface.clone()).or_default();
            known.window_s += seconds;
            known.blind_s += seconds * blind;
            known.has_losses |= coverage.drops_ppm > 0;
            at = until;
        }
        while self.minutes.len() > 2 * MINUTES as usize {
            self.minutes.pop_first();
        }
    }

    /// The last hour, of each minute the interface that saw least.
    pub fn hour(&self, now_us: i64) -> Hour {
        // The minute that goes on is not told yet.
        let last = now_us.div_euclid(MINUTE_US) - 1;
        let mut hour = Hour { minutes: Vec::new(), seen_s: 0, lossy_s: 0, blind_s: 0, is_known: false };
        let (mut seen, mut lossy, mut blind) = (0.0, 0.0, 0.0);
        for minute in last - MINUTES + 1..=last {
            let interfaces = self.minutes.get(&minute).map(|interfaces| interfaces.values());
            let worst = interfaces.and_then(|interfaces| {
                interfaces.copied().reduce(|worst, other| Minute {
                    window_s: worst.window_s.min(other.window_s),
                    blind_s: worst.blind_s.max(other.blind_s),
                    has_losses: worst.has_losses || other.has_losses,
                })
            });
            let Some(worst) = worst else {
                hour.minutes.push(Seen::Untold);
                continue;
            };
            hour.is_known = true;
            let blind_s = worst.blind_s.min(worst.window_s);
            blind += blind_s;
            seen += worst.window_s - blind_s;
            if worst.has_losses {
                lossy += worst.window_s - blind_s;
            }
            hour.minutes.push(match worst {
                _ if blind_s * 2.0 >= worst.window_s => Seen::Blind,
                _ if blind_s >= 0.5 || worst.has_losses => Seen::Lossy,
                // Less than half of the minute was told of.
                _ if worst.window_s < 30.0 => Seen::Untold,
                _ => Seen::Whole,
            });
        }
        (hour.seen_s, hour.lossy_s, hour.blind_s) = (seen as u64, lossy as u64, blind.round() as u64);
        hour
    }

    /// Whether what was scraped holds now.
    fn is_fresh(&self, at: Instant) -> bool {
        self.scrape_error.is_none()
            && self.now.as_ref().is_some_and(|scrape| at.saturating_duration_since(scrape.at) < FRESH)
    }

    /// Whether the sensor can do its work.
    pub fn state(&self, at: Instant) -> State {
        match (&self.scrape_error, &self.now) {
            (Some(error), _) => State::NoMetrics(error.clone()),
            (None, None) => State::Asking,
            (None, Some(_)) if !self.is_fresh(at) => State::NoMetrics("…".to_owned()),
            (None, Some(now)) if now.sum("vigie_ready") == Some(1.0) => State::Ready,
            (None, Some(now)) => {
                let reasons = now.of("vigie_not_ready").filter(|sample| sample.value > 0.0);
                State::NotReady(reasons.map(|sample| sample.label("reason").to_owned()).collect())
            }
        }
    }

    /// All interfaces, by name. Those of the last answer stay, without numbers, while there is none.
    pub fn interfaces(&self, at: Instant) -> Vec<Interface> {
        let Some(now) = &self.now else { return Vec::new() };
        let mut names: Vec<&str> = now.of("vigie_interface_up").map(|sample| sample.label("interface")).collect();
        names.extend(now.of("vigie_capture_packets_total").map(|sample| sample.label("interface")));
        names.sort_unstable();
        names.dedup();
        if !self.is_fresh(at) {
            return names.into_iter().map(|name| Interface { name: name.to_owned(), ..Interface::default() }).collect();
        }
        let one = |name: &str| {
            let of = |scrape: &Scrape, family: &str| scrape.sum_with(family, "interface", name);
            let grown = |family: &str| rate(self.before.as_ref(), now, |scrape| of(scrape, family));
            Interface {
                name: name.to_owned(),
                packets: grown("vigie_capture_packets_total"),
                bits: grown("vigie_capture_bytes_total").map(|bytes| bytes * 8.0),
                drops: grown("vigie_capture_drops_total"),
                dropped: of(now, "vigie_capture_drops_total"),
                seen: of(now, "vigie_capture_packets_total"),
                is_up: of(now, "vigie_interface_up").map(|up| up > 0.0),
                is_silent: of(now, "vigie_capture_silence_seconds").is_some_and(|seconds| seconds >= SILENT_S),
            }
        };
        names.into_iter().map(one).collect()
    }

    /// What holds for the whole sensor.
    pub fn totals(&self, at: Instant, now_us: i64) -> Totals {
        let Some(now) = self.now.as_ref().filter(|_| self.is_fresh(at)) else { return Totals::default() };
        let busy = now.of("vigie_worker_busy_ratio").map(|sample| sample.value);
        let started = now.sum("vigie_start_time_seconds");
        let lost = ["vigie_alerts_lost_total", "vigie_events_dropped_total"].map(|family| now.sum(family));
        Totals {
            uptime_s: started.map(|started| (now_us as f64 / 1e6 - started).max(0.0) as u64),
            busy: busy.reduce(f64::max),
            flows: now.sum("vigie_worker_flows"),
            slots: now.sum("vigie_worker_flow_slots"),
            hellos: rate(self.before.as_ref(), now, |scrape| scrape.sum("vigie_hellos_total")),
            lost_events: lost.into_iter().flatten().reduce(|sum, value| sum + value),
            incidents_open: now.sum("vigie_incidents_open"),
        }
    }
}

/// Seconds without a packet from which on an interface is called silent.
const SILENT_S: f64 = 60.0;

impl Interface {
    /// Several as one.
    pub fn together(interfaces: &[Self], name: String) -> Self {
        let sum = |value: fn(&Self) -> Option<f64>| interfaces.iter().filter_map(value).reduce(|sum, one| sum + one);
        Self {
            name,
            packets: sum(|one| one.packets),
            bits: sum(|one| one.bits),
            drops: sum(|one| one.drops),
            dropped: sum(|one| one.dropped),
            seen: sum(|one| one.seen),
            is_up: interfaces.iter().filter_map(|one| one.is_up).reduce(|all, one| all && one),
            is_silent: interfaces.iter().any(|one| one.is_silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::parse;

    fn scrape(at: Instant, text: &str) -> Scrape {
        Scrape { at, samples: parse(text) }
    }

    fn text(packets: u64, drops: u64) -> String {
        format!(
            "vigie_ready 1\nvigie_interface_up{{interface=\"eth1\"}} 1\n\
             vigie_capture_packets_total{{interface=\"eth1\"}} {packets}\n\
             vigie_capture_drops_total{{interface=\"eth1\",reason=\"ring\"}} {drops}\n"
        )
    }

    #[test]
    fn rates_need_two_answers_without_a_failure_between() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut view = View::default();
        assert_eq!(view.state(begin), State::Asking);
        view.scraped(Ok(scrape(at(0), &text(100, 0))));
        assert_eq!((view.state(begin), view.interfaces(begin)[0].packets), (State::Ready, None));
        view.scraped(Ok(scrape(at(1), &text(150, 5))));
        let interface = view.interfaces(at(1))[0].clone();
        assert_eq!((interface.packets, interface.drops, interface.dropped), (Some(50.0), Some(5.0), Some(5.0)));
        view.scraped(Err("refused".to_owned()));
        let interface = view.interfaces(at(2))[0].clone();
        assert_eq!((interface.name.as_str(), interface.packets, interface.dropped), ("eth1", None, None));
        assert_eq!(view.state(at(2)), State::NoMetrics("refused".to_owned()));
        view.scraped(Ok(scrape(at(9), &text(950, 5))));
        assert_eq!(view.interfaces(at(9))[0].packets, None, "a rate over the failure is none of now");
        // No answer and no error: what was known is too old.
        assert!(matches!(view.state(at(20)), State::NoMetrics(_)));
        assert_eq!(view.totals(at(20), 0), Totals::default());
    }

    #[test]
    fn a_sensor_that_is_not_ready_says_why() {
        let mut view = View::default();
        let at = Instant::now();
        view.scraped(Ok(scrape(
            at,
            "vigie_ready 0\nvigie_not_ready{reason=\"drops\"} 1\nvigie_not_ready{reason=\"silence\"} 0\n",
        )));
        assert_eq!(view.state(at), State::NotReady(vec!["drops".to_owned()]));
    }

    #[test]
    fn incidents_keep_their_place_and_are_bounded() {
        let mut view = View::default();
        let incident = |id: &str, time_us: i64, state: &str| {
            News::Incident(Incident { id: id.to_owned(), time_us, state: state.to_owned(), ..Incident::default() })
        };
        for (id, time, state) in [("a", 1, "opened"), ("b", 2, "opened"), ("a", 3, "closed")] {
            view.heard(incident(id, time, state));
        }
        let shown: Vec<_> =
            view.incidents.iter().map(|one| (one.id.as_str(), one.time_us, one.state.as_str())).collect();
        assert_eq!(shown, [("b", 2, "opened"), ("a", 1, "closed")]);
        for number in 0..2 * INCIDENTS_MAX {
            view.heard(incident(&format!("n{number}"), number as i64, "opened"));
        }
        assert_eq!(view.incidents.len(), INCIDENTS_MAX);
    }

    #[test]
    fn the_hour_is_that_of_the_interface_that_saw_least() {
        const NOW: i64 = 1_000 * MINUTE_US + 5;
        let mut view = View::default();
        let covered = |interface: &str, end: i64, window_s: u64, blind_s: u64, drops_ppm: u64| {
            let end_us = end * MINUTE_US;
            News::Coverage(Coverage { interface: interface.to_owned(), end_us, window_s, blind_s, drops_ppm })
        };
        assert!(!view.hour(NOW).is_known);
        // Two minutes in one window, one with losses, one blind on one of two interfaces.
        for news in [
            covered("a", 998, 120, 0, 0),
            covered("a", 999, 60, 0, 3),
            covered("a", 1_000, 60, 0, 0),
            covered("b", 1_000, 60, 60, 0),
        ] {
            view.heard(news);
        }
        let hour = view.hour(NOW);
        assert_eq!(hour.minutes.len(), 60);
        assert_eq!(hour.minutes[55..], [Seen::Untold, Seen::Whole, Seen::Whole, Seen::Lossy, Seen::Blind]);
        assert_eq!((hour.seen_s, hour.lossy_s, hour.blind_s), (180, 60, 60));
        // A clock that is wrong by years costs no memory.
        for minute in 0..1_000 {
            view.heard(covered("a", 5_000 + minute, 86_400, 0, 0));
        }
        assert!(view.minutes.len() <= 2 * MINUTES as usize);
    }
}
