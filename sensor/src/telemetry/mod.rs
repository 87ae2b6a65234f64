//! The metrics of the sensor. [`families`] is the table of all metrics. Workers publish their counts in [`cells`] of
//! their own, other threads report to [`Shared`]; [`collector`] combines both at a scrape, [`readiness`] decides whether
//! the sensor sees its traffic. The endpoint itself is `vigie-metrics`. No thread of the packet path waits for any of it.
//!
//! How a running sensor uses it:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//! use vigie::telemetry::{CaptureCounts, Loss, MonitoredSensor, Phase, Shared, SignatureFacts, Thresholds};
//! use vigie_metrics::{Server, ServerOptions};
//! # fn worker_counts() -> Vec<(&'static str, &'static str, u64)> { vec![("flow", "opened", 3)] }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // At start. The labels are those of any worker: Worker::all_counts().
//! let labels: Vec<(&str, &str)> = worker_counts().iter().map(|&(family, reason, _)| (family, reason)).collect();
//! let shared = Shared::new("tap-1", &labels, 1)?;
//! let bundle = vigie_signatures::Bundle::builtin();
//! shared.signatures(SignatureFacts::of(&bundle));
//! // Before privileges are given up: binds, and reads keys. `options.web_config` names the file with TLS and passwords.
//! let options = ServerOptions { log: Arc::new(|line| eprintln!("vigie: {line}")), ..ServerOptions::default() };
//! let sensor = MonitoredSensor::new(Arc::clone(&shared), Thresholds::default());
//! let server = Server::bind("127.0.0.1:0".parse()?, options, sensor)?;
//! let _for_landlock = server.readable_folders();
//! // … here the process gives up its privileges …
//! let serving = server.serve()?;
//!
//! // In each worker's thread, some hundred times a second, packets or not:
//! let worker = shared.worker(0).ok_or("no worker 0")?;
//! let capture = shared.capture(0, "eth0");
//! let began = Instant::now();
//! worker.publish(worker_counts().iter().map(|&(_, _, count)| count));
//! worker.flows(3, 1_048_576);
//! worker.channel(0, 4_096, 0);
//! worker.busy(Duration::from_millis(2), Duration::from_millis(10));
//! worker.progressed(shared.now_ms());
//! capture.publish(&CaptureCounts { packets: 10, bytes: 6_400, dropped_ring: 0, dropped_sensor: 0 });
//!
//! // In the thread that writes events, with the latency since the packet:
//! let rule = bundle.rules().first().ok_or("no rule")?;
//! shared.alert_written(rule, vigie::detect::Evidence::TlsSni, Some(began.elapsed()));
//! shared.sink("journal").wrote(1, 700);
//! shared.events_dropped(Loss::SinkFailed, 0);
//!
//! // In the thread that supervises the others:
//! shared.interface("eth0").up(true);
//! shared.enter(Phase::Running);
//! shared.watchdog(shared.stalled(Duration::from_secs(10)).is_empty());
//! shared.reloaded(true);
//! # assert!(serving.is_running());
//!
//! shared.enter(Phase::Stopping);
//! serving.stop();
//! # Ok(())
//! # }
//! ```

pub mod cells;
pub mod collector;
pub mod detections;
pub mod families;
pub mod readiness;
pub mod shared;
mod signature_facts;
#[cfg(test)]
mod tests;
pub mod worker_counts;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use cells::{CaptureCells, CaptureCounts, WorkerCells};
pub use collector::MonitoredSensor;
pub use families::documentation;
pub use readiness::{Cause, NotReady, Thresholds};
pub use shared::{InterfaceCells, Loss, Phase, Shared, SinkCells};
pub use signature_facts::SignatureFacts;

/// Default address of the endpoint: only this machine reaches it.
pub const ADDRESS_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 19_843);
