//! Who has signed in. Sessions are in memory only: a restart ends them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Person, Role, random};

/// Sessions at once; the one that was used longest ago goes.
const SESSIONS_MAX: usize = 1_024;

struct Session {
    person: Person,
    began: Instant,
    used: Instant,
}

/// The sessions, by what the browser keeps.
pub struct Sessions {
    idle_max: Duration,
    age_max: Duration,
    sessions: Mutex<HashMap<String, Session>>,
}

impl Sessions {
    pub fn new(idle_max: Duration, age_max: Duration) -> Self {
        Self { idle_max, age_max, sessions: Mutex::default() }
    }

    /// Begins a session. Its name is always new: one that somebody planted in the browser is worth nothing.
    pub fn begin(&self, name: &str, role: Role) -> Option<String> {
        let (id, csrf) = (random()?, random()?);
        let now = Instant::now();
        let person = Person { name: name.to_owned(), role, csrf, can_sign_out: true };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| self.is_live(session, now));
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| id.clone());
            oldest.and_then(|id| sessions.remove(&id));
        }
        sessions.insert(id.clone(), Session { person, began: now, used: now });
        Some(id)
    }

    /// Whose session it is.
    pub fn person(&self, id: &str) -> Option<Person> {
        let now = Instant::now();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(id)?;
        if !self.is_live(session, now) {
            sessions.remove(id);
            return None;
        }
        session.used = now;
        Some(session.person.clone())
    }

    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn is_live(&self, session: &Session, now: Instant) -> bool {
        now.duration_since(session.used) < self.idle_max && now.duration_since(session.began) < self.age_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_and_are_bounded() {
        let sessions = Sessions::new(Duration::from_secs(60), Duration::from_secs(60));
        let first = sessions.begin("dupont", Role::Analyst).unwrap();
        assert_eq!(sessions.person(&first).unwrap().name, "dupont");
        assert_eq!(sessions.person("planted"), None);
        for _ in 0..SESSIONS_MAX {
            assert_ne!(sessions.begin("martin", Role::Viewer).unwrap(), first);
        }
        assert_eq!(sessions.person(&first), None, "used longest ago");
        let last = sessions.begin("dupont", Role::Analyst).unwrap();
        sessions.end(&last);
        assert_eq!(sessions.person(&last), None);
        let short = Sessions::new(Duration::ZERO, Duration::from_secs(60));
        let gone = short.begin("dupont", Role::Analyst).unwrap();
        assert_eq!(short.person(&gone), None);
    }
}
