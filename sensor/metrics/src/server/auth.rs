//! Basic authentication (RFC 7617) against bcrypt hashes. Checking a hash takes a good part of a second by design, so a
//! thread of its own does it. A password that was correct is remembered by a keyed digest: somebody who guesses
//! passwords cannot keep a regular scraper waiting. One password of a peer is checked at a time, and after a wrong one the
//! thread rests, so that guesses take a tenth of a processor at most.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::oneshot;

use crate::monitored::locked;

/// Passwords that wait to be checked; further requests are answered with "busy".
const ATTEMPTS_WAITING_MAX: usize = 16;
/// After a wrong password, the thread rests for so many times what the check took.
const REST_FACTOR: u32 = 9;
/// How long it rests at most.
const REST_MAX: Duration = Duration::from_secs(3);
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
    /// Peers of whom a password is being checked.
    peers: Mutex<HashSet<IpAddr>>,
}

impl Authenticator {
    /// The authenticator, and the checks that its thread has to do.
    pub(super) fn new() -> io::Result<(Arc<Self>, PasswordChecks)> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let (attempts, checks) = bounded(ATTEMPTS_WAITING_MAX);
        Ok((
            Arc::new(Self { key, remembered: Mutex::default(), attempts, peers: Mutex::default() }),
            PasswordChecks(checks),
        ))
    }

    /// Checks the `Authorization` header of a request.
    pub(super) async fn check(&self, users: &[(String, String)], header: Option<&[u8]>, peer: IpAddr) -> Access {
        let Some((_, first_hash)) = users.first() else { return Access::Granted };
        let Some((user, password)) = header.and_then(credentials) else { return Access::Denied };
        let known = users.iter().find(|(name, _)| name.as_bytes() == user);
        // For an unknown user another hash is checked, so that the time does not reveal which users exist.
        let hash = known.map_or(first_hash, |(_, hash)| hash);
        let digest = self.digest(&user, hash, &password);
        if known.is_some() && locked(&self.remembered).contains(&digest) {
            return Access::Granted;
        }
        let Some(_turn) = Turn::of(&self.peers, peer) else { return Access::Busy };
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

/// The turn of a peer, of whom one password is checked at a time.
struct Turn<'p> {
    peers: &'p Mutex<HashSet<IpAddr>>,
    peer: IpAddr,
}

impl<'p> Turn<'p> {
    fn of(peers: &'p Mutex<HashSet<IpAddr>>, peer: IpAddr) -> Option<Self> {
        // Not `then_some`, which would make a turn that nobody has, and end it.
        if locked(peers).insert(peer) { Some(Self { peers, peer }) } else { None }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        locked(self.peers).remove(&self.peer);
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
                    let began = Instant::now();
                    let is_right = bcrypt::verify(&attempt.password, &attempt.hash).unwrap_or(false);
                    let _ = attempt.answer.send(is_right);
                    if !is_right {
                        thread::sleep((began.elapsed() * REST_FACTOR).min(REST_MAX));
                    }
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

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn one_password_of_a_peer_is_checked_at_a_time_and_wrong_ones_cost_a_tenth_of_a_processor() {
        let (authenticator, checks) = Authenticator::new().unwrap();
        let users = vec![("bob".to_owned(), bcrypt::hash("right", 7).unwrap())];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _thread = checks.start().unwrap();
        let began = Instant::now();
        let _ = bcrypt::verify("wrong", &users[0].1);
        let cost = began.elapsed();
        let began = Instant::now();
        runtime.block_on(async {
            let wrong = header("bob", "wrong");
            let (other, users, known, own) = (Arc::clone(&authenticator), users.clone(), users.clone(), wrong.clone());
            let first = tokio::spawn(async move { other.check(&users, Some(&own), PEER).await });
            tokio::task::yield_now().await;
            assert_eq!(authenticator.check(&known, Some(&wrong), PEER).await, Access::Busy);
            assert_eq!(first.await.unwrap(), Access::Denied);
            for _ in 0..4 {
                assert_eq!(authenticator.check(&known, Some(&wrong), PEER).await, Access::Denied);
            }
        });
        assert!(began.elapsed() > cost * 12, "{:?} for five guesses of {cost:?}", began.elapsed());
    }

    fn header(user: &str, password: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).into_bytes()
    }

    #[test]
    fn correct_passwords_are_accepted_and_remembered() {
        let (authenticator, checks) = Authenticator::new().unwrap();
        let thread = checks.start().unwrap();
        let users = vec![("bob".to_owned(), bcrypt::hash("s:ecret", 4).unwrap())];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let check = |header: &[u8]| runtime.block_on(authenticator.check(&users, Some(header), PEER));
        assert_eq!(check(&header("bob", "s:ecret")), Access::Granted);
        assert_eq!(locked(&authenticator.remembered).len(), 1);
        assert_eq!(check(&header("bob", "s:ecret")), Access::Granted);
        for wrong in
            [header("bob", "secret"), header("eve", "s:ecret"), header("", ""), b"Basic !!".to_vec(), b"x".to_vec()]
        {
            assert_eq!(check(&wrong), Access::Denied);
        }
        assert_eq!(runtime.block_on(authenticator.check(&users, None, PEER)), Access::Denied);
        assert_eq!(runtime.block_on(authenticator.check(&[], None, PEER)), Access::Granted);
        // Another hash for the user: what was remembered no longer counts.
        let changed = vec![("bob".to_owned(), bcrypt::hash("other", 4).unwrap())];
        assert_eq!(
            runtime.block_on(authenticator.check(&changed, Some(&header("bob", "s:ecret")), PEER)),
            Access::Denied
        );
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
            for number in 0..ATTEMPTS_WAITING_MAX {
                let (authenticator, users) = (Arc::clone(&authenticator), users.clone());
                let peer = IpAddr::from([10, 0, 0, number as u8]);
                waiting.push(tokio::spawn(async move {
                    authenticator.check(&users, Some(&header("bob", "wrong")), peer).await
                }));
            }
            tokio::task::yield_now().await;
            for peer in [PEER, IpAddr::from([10, 0, 0, 1])] {
                assert_eq!(authenticator.check(&users, Some(&header("bob", "wrong")), peer).await, Access::Busy);
            }
            assert_eq!(authenticator.check(&users, Some(&header("bob", "right")), PEER).await, Access::Granted);
            let _thread = checks.start().unwrap();
            for attempt in waiting {
                assert_eq!(attempt.await.unwrap(), Access::Denied);
            }
        });
    }
}
