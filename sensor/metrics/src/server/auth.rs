//! Basic authentication (RFC 7617) against bcrypt hashes. Checking a hash takes a good part of a second by design, so a
//! thread of its own does it. A password that was correct is remembered by a keyed digest: somebody who guesses
//! passwords cannot keep a regular scraper waiting.

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

use crate::monitored::locked;

/// Passwords that wait to be checked; further requests are answered with "busy".
const ATTEMPTS_WAITING_MAX: usize = 16;
/// Correct passwords that are remembered.
const REMEMBERED_MAX: usize = 128;

/// Whether a request is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    Denied,
    /// Too many passwords wait to be checked.
    Busy,
}

struct Attempt {
    password: Vec<u8>,
    hash: String,
    answer: oneshot::Sender<bool>,
}

/// Checks user names and passwords for all connections.
pub(super) struct Authenticator {
    key: hmac::Key,
    remembered: Mutex<HashSet<Vec<u8>>>,
    attempts: Sender<Attempt>,
}

impl Authenticator {
    /// The authenticator, and the checks that its thread has to do.
    pub(super) fn new() -> io::Result<(Arc<Self>, PasswordChecks)> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let (attempts, checks) = bounded(ATTEMPTS_WAITING_MAX);
        Ok((Arc::new(Self { key, remembered: Mutex::default(), attempts }), PasswordChecks(checks)))
    }

    /// Checks the `Authorization` header of a request.
    pub(super) async fn check(&self, users: &[(String, String)], header: Option<&[u8]>) -> Access {
        let Some((_, first_hash)) = users.first() else { return Access::Granted };
        let Some((user, password)) = header.and_then(credentials) else { return Access::Denied };
        let known = users.iter().find(|(name, _)| name.as_bytes() == user);
        // For an unknown user another hash is checked, so that the time does not reveal which users exist.
        let hash = known.map_or(first_hash, |(_, hash)| hash);
        let digest = self.digest(&user, hash, &password);
        if known.is_some() && locked(&self.remembered).contains(&digest) {
            return Access::Granted;
        }
        let (answer, answered) = oneshot::channel();
        match self.attempts.try_send(Attempt { password, hash: hash.clone(), answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Access::Busy,
        }
        let is_right = answered.await.unwrap_or(false) && known.is_some();
        if !is_right {
            return Access::Denied;
        }
        let mut remembered = locked(&self.remembered);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(digest);
        Access::Granted
    }

    fn digest(&self, user: &[u8], hash: &str, password: &[u8]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        // The lengths separate the parts: no two splits give the same digest.
        for part in [user, hash.as_bytes(), password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }
}

/// Passwords to be checked.
pub(super) struct PasswordChecks(Receiver<Attempt>);

impl PasswordChecks {
    /// Starts the thread, which ends when the authenticator is gone.
    pub(super) fn start(self) -> io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("vigie-passwords".to_owned()).spawn(move || {
            for attempt in self.0 {
                // A client that has gone away meanwhile needs no answer.
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
    fn correct_passwords_are_accepted_and_remembered() {
        let (authenticator, checks) = Authenticator::new().unwrap();
        let thread = checks.start().unwrap();
        let users = vec![("bob".to_owned(), bcrypt::hash("s:ecret", 4).unwrap())];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let check = |header: &[u8]| runtime.block_on(authenticator.check(&users, Some(header)));
        assert_eq!(check(&header("bob", "s:ecret")), Access::Granted);
        assert_eq!(locked(&authenticator.remembered).len(), 1);
        assert_eq!(check(&header("bob", "s:ecret")), Access::Granted);
        for wrong in
            [header("bob", "secret"), header("eve", "s:ecret"), header("", ""), b"Basic !!".to_vec(), b"x".to_vec()]
        {
            assert_eq!(check(&wrong), Access::Denied);
        }
        assert_eq!(runtime.block_on(authenticator.check(&users, None)), Access::Denied);
        assert_eq!(runtime.block_on(authenticator.check(&[], None)), Access::Granted);
        // Another hash for the user: what was remembered no longer counts.
        let changed = vec![("bob".to_owned(), bcrypt::hash("other", 4).unwrap())];
        assert_eq!(runtime.block_on(authenticator.check(&changed, Some(&header("bob", "s:ecret")))), Access::Denied);
        assert_eq!(locked(&authenticator.remembered).len(), 1);
        drop(authenticator);
        thread.join().unwrap();
    }

    #[test]
    fn guesses_beyond_the_limit_are_refused_while_remembered_passwords_are_accepted() {
        let (authenticator, checks) = Authenticator::new().unwrap();
        let users = vec![("bob".to_owned(), bcrypt::hash("right", 4).unwrap())];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let digest = authenticator.digest(b"bob", &users[0].1, b"right");
        locked(&authenticator.remembered).insert(digest);
        runtime.block_on(async {
            let mut waiting = Vec::new();
            for _ in 0..ATTEMPTS_WAITING_MAX {
                let (authenticator, users) = (Arc::clone(&authenticator), users.clone());
                waiting.push(tokio::spawn(
                    async move { authenticator.check(&users, Some(&header("bob", "wrong"))).await },
                ));
            }
            tokio::task::yield_now().await;
            assert_eq!(authenticator.check(&users, Some(&header("bob", "wrong"))).await, Access::Busy);
            assert_eq!(authenticator.check(&users, Some(&header("bob", "right"))).await, Access::Granted);
            let _thread = checks.start().unwrap();
            for attempt in waiting {
                assert_eq!(attempt.await.unwrap(), Access::Denied);
            }
        });
    }
}
