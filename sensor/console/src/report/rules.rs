//! How often what a rule answered turned out to be a false alarm, of the incidents that a person decided.

use std::collections::BTreeMap;

use rusqlite::{Row, params};
use serde::Serialize;

use super::figures::{Period, Source, each};
use super::suppress::suppressed;

/// What was decided of the incidents with a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleDecisions {
    pub rule: String,
    /// Confirmed and false together.
    pub decided: u64,
    /// None: it, or the confirmed ones, are between one and four.
    pub false_alarms: Option<u64>,
}

/// The rules, those with most decisions first. Rules with fewer decided incidents than may be told are left out.
///
/// # Errors
/// The tables cannot be read.
pub fn of(sources: &[Source], period: &Period) -> rusqlite::Result<Vec<RuleDecisions>> {
    let query = "SELECT rule, sum(is_false), count(*)
                 FROM (SELECT DISTINCT rule.rule AS rule, incident.seq, incident.disposition = 'false' AS is_false
                       FROM incident JOIN evidence ON evidence.incident = incident.seq JOIN rule ON rule.seq = evidence.rule
                       WHERE incident.day BETWEEN ?1 AND ?2 AND incident.disposition <> ''
                           AND incident.disposition IN ('confirmed', 'false'))
                 GROUP BY 1";
    let counts = |row: &Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.max(0) as u64, row.get::<_, i64>(2)?.max(0) as u64))
    };
    let found = each(sources, |tables| {
        let mut query = tables.prepare(query)?;
        query.query_map(params![period.from, period.to], counts)?.collect::<rusqlite::Result<Vec<_>>>()
    });
    let mut rules: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (rule, wrong, decided) in found?.into_iter().flatten() {
        let sums = rules.entry(rule).or_default();
        *sums = (sums.0 + wrong, sums.1 + decided);
    }
    let mut told: Vec<RuleDecisions> = rules.into_iter().filter_map(|(rule, counts)| row(rule, counts)).collect();
    told.sort_by(|one, other| other.decided.cmp(&one.decided).then_with(|| one.rule.cmp(&other.rule)));
    Ok(told)
}

fn row(rule: String, (wrong, decided): (u64, u64)) -> Option<RuleDecisions> {
    suppressed(&[decided]).first().copied().flatten()?;
    let told = suppressed(&[wrong, decided.saturating_sub(wrong)]);
    Some(RuleDecisions { rule, decided, false_alarms: told.first().copied().flatten() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_decisions_are_not_told() {
        let told = |wrong, decided| row("r".to_owned(), (wrong, decided)).map(|row| row.false_alarms);
        assert_eq!(told(0, 4), None);
        assert_eq!(told(0, 5), Some(Some(0)));
        assert_eq!(told(5, 15), Some(Some(5)));
        assert_eq!(told(2, 15), Some(None));
        assert_eq!(told(13, 15), Some(None), "two were confirmed");
    }
}
