//! What an operator should know about a policy on a day: reviews that are overdue, derogations that end.

use std::fmt;

use time::Date;
use vigie_signatures::BanState;

use super::Policy;
use super::derogation::{DerogationState, WARNING_DAYS};

/// One thing to know. Shown as `what; mend`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What there is to know.
    pub what: String,
    /// What mends it.
    pub mend: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.what, self.mend)
    }
}

impl Policy {
    /// What the operator should know on a day.
    pub fn notices(&self, day: Date) -> Vec<Notice> {
        let mut notices: Vec<Notice> = Vec::new();
        for used in self.bans() {
            let ban = used.ban();
            let (what, mend) = match used.state_at(day) {
                BanState::Overdue => {
                    let due = ban.review_due().map(|due| due.to_string()).unwrap_or_default();
                    let what = format!("the review of the ban \"{}\" was due by {due}; the ban still applies", ban.id);
                    (what, "ask its authority whether it was extended")
                }
                BanState::Ended => {
                    let last = ban.ended.map(|last| last.to_string()).unwrap_or_default();
                    (format!("the ban \"{}\" ended on {last} and no longer applies", ban.id), "remove it")
                }
                BanState::InForce | BanState::NotYetInForce => continue,
            };
            notices.push(Notice { what, mend: mend.to_owned() });
        }
        if !self.bans().is_empty() && !self.bans().iter().any(|used| used.state_at(day).judges()) {
            let what = format!("no ban in use is in force on {day}");
            notices.push(Notice { what, mend: "'vigie bans list' shows which are in force".to_owned() });
        }
        for derogation in self.derogations() {
            if let DerogationState::Active(days) = derogation.state_at(day)
                && days <= WARNING_DAYS
            {
                let last = derogation.last_day();
                let what = format!("the derogation \"{}\" ends on {last} ({})", derogation.id, days_left(days));
                notices.push(Notice { what, mend: "renew it with a new entry, or let it expire".to_owned() });
            }
        }
        notices
    }
}

fn days_left(days: i64) -> String {
    match days {
        0 => "its last day".to_owned(),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    }
}
