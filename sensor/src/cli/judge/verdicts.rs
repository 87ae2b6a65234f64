//! The strongest verdict of each client and service, as JSON lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use vigie_journal::json::Object;
use vigie_judgement::{CaseKey, Change, Judgement};

use crate::record::{Context, client_text};

/// Clients × services of which a verdict is kept at most.
const VERDICTS_MAX: usize = 1 << 20;

/// The strongest verdict of each client and service.
#[derive(Default)]
pub struct Verdicts {
    found: BTreeMap<CaseKey, Judgement>,
    left_out: u64,
}

impl Verdicts {
    /// Adds what an episode said in the end.
    pub fn add(&mut self, change: &Change<'_>) {
        if !change.is_over {
            return;
        }
        let key = CaseKey { client: change.client.clone(), service: Arc::clone(change.service) };
        if let Some(judgement) = self.found.get_mut(&key) {
            judgement.rise(change.judgement.clone());
        } else if self.found.len() < VERDICTS_MAX {
            self.found.insert(key, change.judgement.clone());
        } else {
            self.left_out += 1;
        }
    }

    /// Episodes whose verdict found no room.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether a ban that forbids the use of a service would open an incident.
    pub fn has_incident(&self) -> bool {
        self.found.values().any(|judgement| judgement.kind.is_use())
    }

    /// An object a line, in the order of clients and services.
    pub fn json(&self, context: &Context) -> String {
        let mut out = Vec::new();
        for (key, judgement) in &self.found {
            let reasons: Vec<String> = judgement.reasons.iter().map(ToString::to_string).collect();
            let mut object = Object::open(&mut out);
            object.text("client", &client_text(&key.client, "", context));
            object.text("service", &key.service);
            object.text("verdict", judgement.verdict().as_str());
            object.text("kind", judgement.kind.as_str());
            object.truth("first_run", judgement.first_run);
            object.truth("incident", judgement.kind.is_use());
            object.texts("reasons", reasons.iter().map(String::as_str));
            object.close();
            out.push(b'\n');
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}
