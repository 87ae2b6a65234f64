//! What a program gives its metrics endpoint, and the registry that gathers it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, Registry};

use crate::process::{self, Process};
use crate::server::{self, EndpointCounts};
use crate::{Family, Scrape};

/// A program that is monitored through its endpoint. All methods are called from the endpoint's thread.
pub trait Monitored: Send + Sync + 'static {
    /// How the start page names the program.
    fn identity(&self) -> Identity;

    /// The families that [`collect`](Self::collect) gives values for.
    fn families(&self) -> &'static [Family];

    /// Gives all values as they are now.
    fn collect(&self, scrape: &mut Scrape);

    /// Looks at what readiness depends on. Called about once a second.
    fn sample(&self) {}

    /// Why the program is not ready, by the last sample; empty when it is.
    fn not_ready(&self) -> Vec<Reason>;

    /// The workers that do not move; empty when the program is healthy.
    fn stalled(&self) -> Vec<Stalled>;
}

/// How the start page names a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The program, such as `vigie`.
    pub program: &'static str,
    /// What kind of program it is, such as `Sensor`.
    pub role: &'static str,
    /// The name of this one.
    pub name: String,
    /// Its version.
    pub version: &'static str,
    /// What `/readyz` tells.
    pub readiness: &'static str,
}

/// Why a program is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// One word for programs, such as `starting`.
    pub code: &'static str,
    /// One line for people.
    pub detail: String,
}

/// A worker that has not moved for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// Its number.
    pub worker: usize,
    /// For how long.
    pub age: Duration,
}

/// A registry that gathers the families of the program, of its process and of its endpoint. Files that the process
/// families are read from are opened here, while the process may.
///
/// # Errors
/// Never in practice: a family's name, labels or help are refused.
pub fn registry(program: Arc<dyn Monitored>, endpoint: Arc<EndpointCounts>) -> Result<Registry, Error> {
    let descriptions = [program.families(), process::FAMILIES, server::FAMILIES].into_iter().flatten();
    let descriptions = descriptions.map(description).collect::<Result<_, _>>()?;
    let process = Mutex::new(Process::open().ok());
    let registry = Registry::new();
    registry.register(Box::new(ProgramCollector { program, endpoint, process, descriptions }))?;
    Ok(registry)
}

fn description(family: &Family) -> Result<Desc, Error> {
    let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
    Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
}

struct ProgramCollector {
    program: Arc<dyn Monitored>,
    endpoint: Arc<EndpointCounts>,
    process: Mutex<Option<Process>>,
    descriptions: Vec<Desc>,
}

impl Collector for ProgramCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut scrape = Scrape::default();
        self.program.collect(&mut scrape);
        self.endpoint.collect(&mut scrape);
        if let Some(process) = locked(&self.process).as_mut() {
            process.collect(&mut scrape);
        }
        scrape.finish()
    }
}

/// The lock's content, also when a thread that held it panicked: it protects numbers, which stay valid.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
