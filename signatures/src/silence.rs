//! What operators silence: names and all below them, whole services, classes, severities.
//!
//! A silenced rule still answers, so that `vigie explain` tells what a name is; it raises nothing.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::id;
use crate::parse::{Draft, Matches, Silence};
use crate::rule::Rule;
use crate::words::MatchKind;

/// Does a silence hold for a rule?
fn holds(silence: &Silence, rule: &Rule) -> bool {
    (silence.services.is_empty() || silence.services.contains(&rule.service))
        && (silence.classes.is_empty() || silence.classes.contains(&rule.class))
        && (silence.severities.is_empty() || silence.severities.contains(&rule.severity()))
}

/// Suffixes of operators, with their layer and whether they say `alert = false`: that of the nearest one holds for rules
/// of earlier layers at or below it.
#[derive(Debug, Default)]
struct Suffixes(HashMap<String, (u32, bool), FixedState>);

impl Suffixes {
    /// Is a name silenced for rules of this layer?
    fn silence(&self, name: &str, layer: u32) -> bool {
        let mut rest = Some(name);
        while let Some(suffix) = rest {
            if let Some((_, silent)) = self.0.get(suffix).filter(|(of, _)| *of > layer) {
                return *silent;
            }
            rest = suffix.split_once('.').map(|(_, above)| above);
        }
        false
    }
}

/// Patterns that answer for names of which only some are silenced.
#[derive(Debug, Default)]
pub(crate) struct PartlySilent {
    suffixes: Suffixes,
    /// By the rule's number: its layer, and the same rule, silenced.
    twins: HashMap<u32, (u32, Arc<Rule>), FixedState>,
}

impl PartlySilent {
    /// The silenced rule that answers for a name instead of another, if one does.
    pub(crate) fn instead(&self, number: u32, name: &[u8]) -> Option<&Arc<Rule>> {
        let (layer, twin) = self.twins.get(&number)?;
        self.suffixes.silence(str::from_utf8(name).ok()?, *layer).then_some(twin)
    }
}

/// Silences what the layers say. None where no pattern is silenced in part.
pub(crate) fn apply(drafts: &mut [(u32, Draft)], silences: &[(u32, Silence)]) -> Option<PartlySilent> {
    for (layer, silence) in silences {
        for (_, draft) in drafts.iter_mut().filter(|(of, draft)| of <= layer && holds(silence, &draft.rule)) {
            draft.rule.signature_id = id::silenced(draft.rule.signature_id);
        }
    }
    let mut suffixes = Suffixes::default();
    for (layer, Draft { rule, .. }) in drafts.iter() {
        if *layer > 0 && rule.kind == MatchKind::Suffix {
            suffixes.0.insert(rule.text.clone(), (*layer, rule.is_silent()));
        }
    }
    if !suffixes.0.values().any(|(_, silent)| *silent) {
        return None;
    }
    let mut twins = HashMap::default();
    for (number, (layer, draft)) in (0_u32..).zip(drafts.iter_mut()) {
        let silent = match &draft.matches {
            Matches::Exact | Matches::Suffix => suffixes.silence(&draft.rule.text, *layer),
            Matches::Pattern { zones, .. } => zones.iter().all(|zone| suffixes.silence(zone, *layer)),
            Matches::Network(_) | Matches::Ja4 => false,
        };
        if silent {
            draft.rule.signature_id = id::silenced(draft.rule.signature_id);
        } else if matches!(draft.matches, Matches::Pattern { .. }) && !draft.rule.is_silent() {
            let twin = Rule { signature_id: id::silenced(draft.rule.signature_id), ..draft.rule.clone() };
            twins.insert(number, (*layer, Arc::new(twin)));
        }
    }
    Some(PartlySilent { suffixes, twins })
}
