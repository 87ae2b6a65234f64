//! What an answer means: which events the receiver took, and what it said of the next one.

use serde::Deserialize;

use crate::configuration::WebhookFormat;
use crate::error::{ErrorKind, SendError};
use crate::time::parse_retry_after;

/// Characters of an answer that a message shows.
const SHOWN_CHARACTERS_MAX: usize = 160;

/// Status and headers of an answer.
#[derive(Debug, Default)]
pub struct Head {
    pub status: u16,
    pub retry_after: Option<String>,
    pub location: Option<String>,
}

/// What an answer means for the events of its request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The first events of the request that the receiver took.
    pub accepted: usize,
    /// What is wrong with the next.
    pub problem: Option<Problem>,
}

/// Why a receiver did not take events.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not about the events.
    Failed(SendError),
    /// The receiver does not want them.
    Rejected(String),
}

/// Reads an answer to a request with `count` events.
pub fn read(format: WebhookFormat, server: &str, count: usize, head: &Head, text: &str) -> Answer {
    let (status, said) = (head.status, shown(text));
    let (kind, what) = match status {
        200..=299 if format == WebhookFormat::Elasticsearch => return items(server, count, text),
        200..=299 => return Answer { accepted: count, problem: None },
        // TheHive has the alert already: it was sent before a crash.
        400 if format == WebhookFormat::TheHive && text.contains("already exist") => {
            return Answer { accepted: count, problem: None };
        }
        300..=399 => {
            let there = head.location.as_deref().unwrap_or("another place");
            let there = there.split(['?', '#']).next().unwrap_or(there);
            (ErrorKind::Rejected, format!("sends us to {there} ({status}); give that as url, if it is right"))
        }
        401 => (
            ErrorKind::Credentials,
            format!("refuses who we say we are (401); check user and password_file, or token_file{said}"),
        ),
        403 => (ErrorKind::Credentials, format!("does not permit it (403); check the rights of that account{said}")),
        404 | 405 => (ErrorKind::Rejected, format!("takes no events at that path ({status}); check url{said}")),
        407 => {
            (ErrorKind::Credentials, "is behind a proxy that wants a password, which is not supported (407)".to_owned())
        }
        408 | 425 | 429 | 503 => (ErrorKind::Busy, format!("is busy ({status}){said}")),
        500..=599 => (ErrorKind::Busy, format!("has a fault ({status}){said}")),
        400..=499 => {
            let problem = Problem::Rejected(format!("{server} rejects it ({status}){said}"));
            return Answer { accepted: 0, problem: Some(problem) };
        }
        _ => (ErrorKind::Rejected, format!("answers what HTTP does not have ({status}){said}")),
    };
    let retry_after = head.retry_after.as_deref().and_then(parse_retry_after);
    let error = SendError { retry_after, ..SendError::new(kind, format!("{server} {what}")) };
    Answer { accepted: 0, problem: Some(Problem::Failed(error)) }
}

#[derive(Deserialize)]
struct Bulk {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: ItemResult,
}

#[derive(Deserialize)]
struct ItemResult {
    status: u16,
    #[serde(default)]
    error: serde_json::Value,
}

impl ItemResult {
    /// Whether the index asks for an ingest pipeline that is not there.
    fn is_without_pipeline(&self) -> bool {
        let text = |key: &str| self.error.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        text("type") == "illegal_argument_exception" && text("reason").starts_with("pipeline with id [")
    }
}

/// The results of `_bulk`: one for each event, in order. 409 says that the document is there already.
fn items(server: &str, count: usize, text: &str) -> Answer {
    let bulk = match serde_json::from_str::<Bulk>(text) {
        Ok(bulk) if bulk.items.len() == count => bulk,
        _ => {
            let message = format!("{server} does not answer as _bulk does; check url{}", shown(text));
            let error = SendError::new(ErrorKind::Rejected, message);
            return Answer { accepted: 0, problem: Some(Problem::Failed(error)) };
        }
    };
    for (accepted, Item { create: result }) in bulk.items.iter().enumerate() {
        let (status, said) = (result.status, shown(&result.error.to_string()));
        let problem = match status {
            200..=299 | 409 => continue,
            401 | 403 => {
                let message = format!("{server} does not permit it ({status}); check the rights of that account{said}");
                Problem::Failed(SendError::new(ErrorKind::Credentials, message))
            }
            429 | 500..=599 => {
                Problem::Failed(SendError::new(ErrorKind::Busy, format!("{server} is busy ({status}){said}")))
            }
            // No index, or no pipeline of its template: whatever the event is, it would be rejected.
            404 => Problem::Failed(SendError::new(
                ErrorKind::Rejected,
                format!("{server} has no such index ({status}){said}"),
            )),
            400 if result.is_without_pipeline() => {
                let message = format!(
                    "{server} has no ingest pipeline of that name; install it, or take index.default_pipeline out of the template{said}"
                );
                Problem::Failed(SendError::new(ErrorKind::Rejected, message))
            }
            _ => Problem::Rejected(format!("{server} rejects it ({status}){said}")),
        };
        return Answer { accepted, problem: Some(problem) };
    }
    Answer { accepted: count, problem: None }
}

/// The beginning of what the receiver says.
fn shown(text: &str) -> String {
    let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain: String = words.chars().filter(|c| !c.is_control()).take(SHOWN_CHARACTERS_MAX).collect();
    if plain.is_empty() || plain == "null" { String::new() } else { format!("; it says: {plain}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn of(format: WebhookFormat, count: usize, status: u16, text: &str) -> Answer {
        let head =
            Head { status, retry_after: Some("7".to_owned()), location: Some("https://other/x?token=abc".to_owned()) };
        read(format, "siem", count, &head, text)
    }

    #[test]
    fn answers_tell_a_busy_receiver_from_a_wrong_event() {
        let json = |status| of(WebhookFormat::Json, 3, status, "so it is");
        assert_eq!(json(202), Answer { accepted: 3, problem: None });
        for (status, expected) in [
            (302, Some(ErrorKind::Rejected)),
            (401, Some(ErrorKind::Credentials)),
            (403, Some(ErrorKind::Credentials)),
            (404, Some(ErrorKind::Rejected)),
            (429, Some(ErrorKind::Busy)),
            (500, Some(ErrorKind::Busy)),
            (503, Some(ErrorKind::Busy)),
            (400, None),
            (413, None),
            (422, None),
        ] {
            match json(status).problem.unwrap() {
                Problem::Failed(error) => {
                    assert_eq!(Some(error.kind), expected, "{status}");
                    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
                    assert!(!error.message.contains("token=abc"), "{error}");
                }
                Problem::Rejected(text) => assert!(expected.is_none() && text.ends_with("it says: so it is"), "{text}"),
            }
        }
        assert_eq!(of(WebhookFormat::TheHive, 1, 400, "Alert already exists in database").accepted, 1);
    }

    #[test]
    fn elasticsearch_answers_for_each_event() {
        let bulk = |items: &str| of(WebhookFormat::Elasticsearch, 2, 200, &format!("{{\"items\":[{items}]}}"));
        let (made, there) =
            (r#"{"create":{"status":201}}"#, r#"{"create":{"status":409,"error":{"type":"conflict"}}}"#);
        assert_eq!(bulk(&format!("{made},{there}")), Answer { accepted: 2, problem: None });
        let wrong = bulk(&format!("{made},{}", r#"{"create":{"status":400,"error":{"type":"mapper_parsing"}}}"#));
        assert!(
            matches!(wrong, Answer { accepted: 1, problem: Some(Problem::Rejected(text)) } if text.contains("mapper_parsing"))
        );
        let busy = bulk(&format!("{},{made}", r#"{"create":{"status":429}}"#));
        assert!(
            matches!(busy, Answer { accepted: 0, problem: Some(Problem::Failed(error)) } if error.kind == ErrorKind::Busy)
        );
        assert!(matches!(bulk(made), Answer { accepted: 0, problem: Some(Problem::Failed(_)) }));
        // It is not about the event, which must not be set aside.
        let pipeline = r#"{"type":"illegal_argument_exception","reason":"pipeline with id [vigie] does not exist"}"#;
        for (status, error, expected) in [
            (
                400,
                pipeline,
                "siem has no ingest pipeline of that name; install it, or take index.default_pipeline out of the template; it says: ",
            ),
            (404, r#"{"type":"index_not_found_exception"}"#, "siem has no such index (404); it says: "),
        ] {
            let answer = bulk(&format!(r#"{{"create":{{"status":{status},"error":{error}}}}},{made}"#));
            let Some(Problem::Failed(error)) = answer.problem else { panic!("{answer:?}") };
            assert!(answer.accepted == 0 && error.message.starts_with(expected), "{error}");
        }
    }
}
