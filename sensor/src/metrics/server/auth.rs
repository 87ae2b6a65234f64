//! Basic authentication (RFC 7617) against bcrypt hashes. A hash takes a good part of a second on purpose, so it is
//! worked out on a thread of its own, and a password that was right is remembered by a keyed digest: what
//! scrapes regularly is never kept waiting by who guesses.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::oneshot;

use super::super::shared::locked;

/// Passwords that wait to be worked out; beyond them the server answers that it is busy.
const ATTEMPTS_WAITING_MAX: usize = 16;
/// Right passwords that are remembered.
const REMEMBERED_MAX: usize = 128;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome,
    Unknown,
    Busy,
}

struct Attempt {
    password: Vec<u8>,
    hash: String,
    answer: oneshot::Sender<bool>,
}

/// The gate; one for all connections.
pub(super) struct Gate {
    key: hmac::Key,
    remembered: Mutex<HashSet<Vec<u8>>>,
    attempts: Sender<Attempt>,
}

impl Gate {
    /// The gate, and the work that [`work`] is to do on a thread.
    pub(super) fn new() -> io::Result<(Arc<Self>, Work)> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let (attempts, work) = bounded(ATTEMPTS_WAITING_MAX);
        Ok((Arc::new(Self { key, remembered: Mutex::default(), attempts }), Work(work)))
    }

    /// Judges the `Authorization` header of a request.
    pub(super) async fn admit(&self, users: &[(String, String)], header: Option<&[u8]>) -> Verdict {
        let Some((_, anybodys)) = users.first() else { return Verdict::Welcome };
        let Some((user, password)) = header.and_then(credentials) else { return Verdict::Unknown };
        let known = users.iter().find(|(name, _)| name.as_bytes() == user);
        // For who is unknown another's is worked out, so that the time does not tell who is known.
        let hash = known.map_or(anybodys, |(_, hash)| hash);
        let digest = self.digest(&user, hash, &password);
        if known.is_some() && locked(&self.remembered).contains(&digest) {
            return Verdict::Welcome;
        }
        let (answer, answered) = oneshot::channel();
        match self.attempts.try_send(Attempt { password, hash: hash.clone(), answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Verdict::Busy,
        }
        let is_right = answered.await.unwrap_or(false) && known.is_some();
        if !is_right {
            return Verdict::Unknown;
        }
        let mut remembered = locked(&self.remembered);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(digest);
        Verdict::Welcome
    }

    fn digest(&self, user: &[u8], hash: &str, password: &[u8]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        // Lengths keep the parts apart.
        for part in [user, hash.as_bytes(), password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }
}

/// Attempts to be worked out.
pub(super) struct Work(Receiver<Attempt>);

impl Work {
    /// Starts the thread, which ends when the gate is gone.
    pub(super) fn start(self) -> io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("vigie-passwords".to_owned()).spawn(move || {
            for attempt in self.0 {
                // Who has gone away meanwhile needs no answer.
                if !attempt.answer.is_closed() {
                    let is_right = bcrypt::verify(&attempt.password, &attempt.hash).unwrap_or(false);
                    let _ = attempt.answer.send(is_right);
                }
            }
        })
    }
}

/// User and password of a header.
fn credentials(header: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = std::str::from_utf8(header).ok()?.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(rest.trim()).ok()?;
    let colon = memchr::memchr(b':', &decoded)?;
    Some((decoded.get(..colon)?.to_vec(), decoded.get(colon + 1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(user: &str, password: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).into_bytes()
    }

    #[test]
    fn right_passwords_are_let_in_and_remembered() {
        let (gate, work) = Gate::new().unwrap();
        let thread = work.start().unwrap();
        let users = vec![("bob".to_owned(), bcrypt::hash("s:ecret", 4).unwrap())];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let admit = |header: &[u8]| runtime.block_on(gate.admit(&users, Some(header)));
        assert_eq!(admit(&header("bob", "s:ecret")), Verdict::Welcome);
        assert_eq!(locked(&gate.remembered).len(), 1);
        assert_eq!(admit(&header("bob", "s:ecret")), Verdict::Welcome);
        for wrong in
            [header("bob", "secret"), header("eve", "s:ecret"), header("", ""), b"Basic !!".to_vec(), b"x".to_vec()]
        {
            assert_eq!(admit(&wrong), Verdict::Unknown);
        }
        assert_eq!(runtime.block_on(gate.admit(&users, None)), Verdict::Unknown);
        assert_eq!(runtime.block_on(gate.admit(&[], None)), Verdict::Welcome);
        // Another hash for the user: what was remembered is worth nothing.
        let changed = vec![("bob".to_owned(), bcrypt::hash("other", 4).unwrap())];
        assert_eq!(runtime.block_on(gate.admit(&changed, Some(&header("bob", "s:ecret")))), Verdict::Unknown);
        assert_eq!(locked(&gate.remembered).len(), 1);
        drop(gate);
        thread.join().unwrap();
    }

    #[test]
    fn guesses_beyond_the_bound_are_turned_away_while_the_remembered_come_in() {
        let (gate, work) = Gate::new().unwrap();
        let users = vec![("bob".to_owned(), bcrypt::hash("right", 4).unwrap())];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let digest = gate.digest(b"bob", &users[0].1, b"right");
        locked(&gate.remembered).insert(digest);
        runtime.block_on(async {
            let mut waiting = Vec::new();
            for _ in 0..ATTEMPTS_WAITING_MAX {
                let (gate, users) = (Arc::clone(&gate), users.clone());
                waiting.push(tokio::spawn(async move { gate.admit(&users, Some(&header("bob", "wrong"))).await }));
            }
            tokio::task::yield_now().await;
            assert_eq!(gate.admit(&users, Some(&header("bob", "wrong"))).await, Verdict::Busy);
            assert_eq!(gate.admit(&users, Some(&header("bob", "right"))).await, Verdict::Welcome);
            let _thread = work.start().unwrap();
            for attempt in waiting {
                assert_eq!(attempt.await.unwrap(), Verdict::Unknown);
            }
        });
    }
}
