//! Metrics for Prometheus, and the endpoint that shows them.
//!
//! [`families`] is the table of all names. Workers show their counts in [`cells`] of their own, the other threads
//! report to [`Shared`]; [`collector`] puts both together when somebody scrapes, [`exposition`] writes them as text,
//! [`health`] judges whether the sensor sees anything, [`server`] answers. Nobody on the packet path waits for any of it.
//!
//! How `run` wires it:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//! use vigie::metrics::{CaptureCounts, Loss, Phase, Server, ServerOptions, Shared, SignatureFacts};
//! # fn worker_counts() -> Vec<(&'static str, &'static str, u64)> { vec![("flow", "opened", 3)] }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // At start. The labels are those that any worker tells: Worker::all_counts().
//! let labels: Vec<(&str, &str)> = worker_counts().iter().map(|&(family, reason, _)| (family, reason)).collect();
//! let shared = Shared::new("tap-1", &labels, 1)?;
//! let bundle = vigie_signatures::Bundle::builtin();
//! shared.signatures(SignatureFacts::of(&bundle));
//! // With root's rights, if any: binds, and reads keys. `options.web_config` names the file with TLS and passwords.
//! let options = ServerOptions { notice: Arc::new(|line| eprintln!("vigie: {line}")), ..ServerOptions::default() };
//! let server = Server::bind("127.0.0.1:0".parse()?, options, Arc::clone(&shared))?;
//! let _for_landlock = server.readable_folders();
//! // … here the process drops its rights …
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
//! // In the thread that writes events; the latency from the packet's time, where that is the clock's:
//! let rule = bundle.rules().first().ok_or("no rule")?;
//! shared.alert_written(rule, vigie::detect::Evidence::TlsSni, Some(began.elapsed()));
//! shared.sink("journal").wrote(1, 700);
//! shared.events_dropped(Loss::SinkFailed, 0);
//!
//! // In the thread that watches over everything:
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
pub mod exposition;
pub mod families;
pub mod health;
mod process;
pub mod server;
pub mod shared;

pub use cells::{CaptureCells, CaptureCounts, WorkerCells};
pub use families::{Family, documentation};
pub use health::{Reason, Thresholds};
pub use server::{Server, ServerError, ServerLimits, ServerOptions, Serving};
pub use shared::{InterfaceCells, Loss, Phase, Shared, SignatureFacts, SinkCells};
