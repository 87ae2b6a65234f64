//! The metrics of the program, and how its endpoint shows it.

use std::sync::{Arc, Mutex, PoisonError};

use vigie_metrics::{Family, Identity, Monitored, Reason, Scrape, Stalled};

use crate::engine::Status;

vigie_metrics::families! {
    EVENTS: Counter, "vigie_forward_events_total", ["receiver"],
        "Events that the receiver has; those that were sent again count again.";
    BYTES: Counter, "vigie_forward_bytes_total", ["receiver"],
        "Bytes of these events.";
    ERRORS: Counter, "vigie_forward_errors_total", ["receiver", "kind"],
        "Tries that failed, by what was wrong.";
    FAILING: Gauge, "vigie_forward_failing", ["receiver"],
        "1 while the last try failed.";
    SET_ASIDE: Counter, "vigie_forward_events_set_aside_total", ["receiver", "by"],
        "Events in the receiver's file of rejected events: rejected by the receiver, or no events.";
    LOST: Counter, "vigie_forward_lost_segments_total", ["receiver"],
        "Segments of the journal that were removed before the receiver had them.";
    WENT_BACK: Counter, "vigie_forward_cursor_went_back_total", ["receiver"],
        "How often the journal did not have the event at the cursor, so that events were sent again.";
    LAG_BYTES: Gauge, "vigie_forward_lag_bytes", ["receiver"],
        "Bytes of the journal that were not read for the receiver yet.";
    LAG_EVENTS: Gauge, "vigie_forward_lag_events", ["receiver"],
        "Events of the journal that the receiver does not have yet, of whatever kind; in part estimated by their bytes.";
    LAG_SECONDS: Gauge, "vigie_forward_lag_seconds", ["receiver"],
        "Age of the oldest event that waits to be acknowledged; 0 if none does.";
    LAST_SUCCESS: Gauge, "vigie_forward_last_success_timestamp_seconds", ["receiver"],
        "When the receiver last acknowledged events, in seconds since the Unix epoch; 0 before the first time.";
}

/// The receivers, as the endpoint sees them.
#[derive(Debug, Default)]
pub struct Telemetry {
    statuses: Mutex<Vec<Arc<Status>>>,
}

impl Telemetry {
    /// From now on these receivers are shown.
    pub fn show(&self, statuses: Vec<Arc<Status>>) {
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner) = statuses;
    }

    fn statuses(&self) -> Vec<Arc<Status>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Monitored for Telemetry {
    fn identity(&self) -> Identity {
        Identity {
            program: "vigie-forward",
            role: "Forwarder",
            name: vigie_config::Machine::detect().host_name,
            version: env!("CARGO_PKG_VERSION"),
            readiness: "ready while every receiver takes events",
        }
    }

    fn families(&self) -> &'static [Family] {
        FAMILIES
    }

    fn collect(&self, scrape: &mut Scrape) {
        for status in self.statuses() {
            let name = status.name();
            let (events, bytes) = status.sent();
            scrape.add(EVENTS, &[name], events);
            scrape.add(BYTES, &[name], bytes);
            for (kind, count) in status.errors() {
                scrape.add(ERRORS, &[name, kind.as_str()], count);
            }
            scrape.set(FAILING, &[name], f64::from(u8::from(status.current_fault().is_some())));
            for (by, count) in status.set_aside() {
                scrape.add(SET_ASIDE, &[name, by], count);
            }
            let (lost, went_back) = status.losses();
            scrape.add(LOST, &[name], lost);
            scrape.add(WENT_BACK, &[name], went_back);
            let (lag_bytes, lag_events, lag_seconds) = status.lag();
            scrape.set(LAG_BYTES, &[name], lag_bytes as f64);
            scrape.set(LAG_EVENTS, &[name], lag_events as f64);
            scrape.set(LAG_SECONDS, &[name], lag_seconds);
            scrape.set(LAST_SUCCESS, &[name], status.last_success());
        }
    }

    fn not_ready(&self) -> Vec<Reason> {
        let faults = self.statuses().into_iter().filter_map(|status| {
            let fault = status.current_fault()?;
            Some(Reason { code: "receiver-failing", detail: format!("{}: {fault}", status.name()) })
        });
        faults.collect()
    }

    fn stalled(&self) -> Vec<Stalled> {
        Vec::new()
    }
}
