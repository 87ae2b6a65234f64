//! Look-ups of names in signatures, few and many.

use std::hint::black_box;
use std::sync::Arc;

use vigie_signatures::{Bundle, LoadOptions, Name, SourceText, normalise};

use super::Workload;
use crate::random::Random;

const NAMES: usize = 20_000;

/// Names as they come from the wire, looked up.
pub struct Lookup {
    bundle: Arc<Bundle>,
    names: Vec<String>,
    is_known: bool,
}

impl Lookup {
    /// Names that none of the built-in signatures knows.
    pub fn builtin_miss() -> Self {
        let mut random = Random(3);
        let names = (0..NAMES).map(|_| format!("www.shop-{:07}.example.com", random.below(10_000_000))).collect();
        Self { bundle: Bundle::builtin(), names, is_known: false }
    }

    /// Names under ban.
    pub fn builtin_hit() -> Self {
        let names = vigie_synth::names::BANNED.iter().cycle().take(NAMES).map(|name| (*name).to_owned()).collect();
        Self { bundle: Bundle::builtin(), names, is_known: true }
    }

    /// Names in a bundle of `rules` rules.
    pub fn synthetic(rules: u32, is_known: bool) -> Self {
        let mut random = Random(5);
        let word = if is_known { "site" } else { "shop" };
        let names = (0..NAMES).map(|_| format!("www.{word}-{:07}.com", random.below(rules))).collect();
        Self { bundle: Arc::new(bundle(rules)), names, is_known }
    }
}

/// A bundle of suffix rules only.
fn bundle(rules: u32) -> Bundle {
    let mut text = String::from(
        "service = \"synthetic\"\nname = \"Synthetic\"\nbase = 7900000\nreviewed = \"2026-11-21\"\n[[names]]\n\
         role = \"web\"\nclass = \"site\"\nconfidence = \"high\"\nsources = [\"bench\"]\nsuffix = [\n",
    );
    for number in 0..rules {
        text.push_str(&format!("\"site-{number:07}.com\",\n"));
    }
    text.push_str("]\n");
    let options = LoadOptions { builtin: false, ..LoadOptions::default() };
    Bundle::from_texts(&[vec![SourceText { label: "bench".into(), text }]], options).expect("a sound bundle").0
}

impl Workload for Lookup {
    fn operations(&self) -> u64 {
        self.names.len() as u64
    }

    fn run(&mut self) {
        let mut buffer = [0; 256];
        let mut known = 0;
        for name in &self.names {
            if let Name::Host(host) = normalise(black_box(name.as_bytes()), &mut buffer) {
                known += usize::from(self.bundle.name(host).is_some());
            }
        }
        assert_eq!(known, if self.is_known { self.names.len() } else { 0 });
    }
}
