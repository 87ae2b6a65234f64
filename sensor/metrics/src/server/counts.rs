//! What the endpoint counts of its own work.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Scrape;
use crate::monitored::locked;

crate::families! {
    HTTP_REQUESTS: Counter, "vigie_http_requests_total", ["path", "code"],
        "Requests to this endpoint.";
    HTTP_REFUSED: Counter, "vigie_http_connections_refused_total", ["reason"],
        "Connections to this endpoint that were closed without an answer.";
    WEB_CONFIG_RELOADS: Counter, "vigie_web_config_reloads_total", ["result"],
        "Times that the file with TLS and passwords of this endpoint was read again; after a failure the old one stays in use.";
}

/// The counts, since start.
#[derive(Debug, Default)]
pub struct EndpointCounts {
    /// By path and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    reloads_succeeded: AtomicU64,
    reloads_failed: AtomicU64,
}

impl EndpointCounts {
    pub(super) fn request(&self, path: &'static str, code: u16) {
        *locked(&self.requests).entry((path, code)).or_default() += 1;
    }

    pub(super) fn refused(&self, reason: &'static str) {
        *locked(&self.refused).entry(reason).or_default() += 1;
    }

    pub(super) fn web_config_reload(&self, is_success: bool) {
        let count = if is_success { &self.reloads_succeeded } else { &self.reloads_failed };
        count.fetch_add(1, Relaxed);
    }

    /// Successful and failed times that the web configuration was read again.
    #[cfg(test)]
    pub(super) fn web_config_reloads(&self) -> (u64, u64) {
        (self.reloads_succeeded.load(Relaxed), self.reloads_failed.load(Relaxed))
    }

    pub(crate) fn collect(&self, scrape: &mut Scrape) {
        for ((path, code), count) in locked(&self.requests).iter() {
            scrape.add(HTTP_REQUESTS, &[path, &code.to_string()], *count);
        }
        for (reason, count) in locked(&self.refused).iter() {
            scrape.add(HTTP_REFUSED, &[reason], *count);
        }
        scrape.add(WEB_CONFIG_RELOADS, &["success"], self.reloads_succeeded.load(Relaxed));
        scrape.add(WEB_CONFIG_RELOADS, &["failure"], self.reloads_failed.load(Relaxed));
    }
}
