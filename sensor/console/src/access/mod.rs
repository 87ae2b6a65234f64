//! Who asks, and what that person may see and do.

mod certificate;
mod sessions;
mod sign_in;
mod users;

pub use self::certificate::names as names_of_certificate;
pub use self::sessions::Sessions;
pub use self::sign_in::{Answer, SignIn};
pub use self::users::{Roles, Users};

use std::path::PathBuf;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use vigie_metrics::server::live_config::TlsServer;

use crate::words::Words;

/// What a person may see and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees pseudonyms, and decides nothing.
    Viewer,
    /// Sees devices, decides and writes notes.
    Analyst,
    /// As an analyst; it is the data protection officer.
    Dpo,
}

impl Role {
    /// Its name on pages.
    pub const fn name(self, words: &Words) -> &'static str {
        match self {
            Self::Viewer => words.role_viewer,
            Self::Analyst => words.role_analyst,
            Self::Dpo => words.role_dpo,
        }
    }

    /// Whether clients are shown as they are, and notes and labels of assets are.
    pub fn sees_devices(self) -> bool {
        self >= Self::Analyst
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub role: Role,
    /// Stands in forms: one from elsewhere does not have it.
    pub csrf: String,
    /// Whether a session of the console can be ended.
    pub can_sign_out: bool,
}

/// How people are known.
pub enum Access {
    /// Everybody who reaches the console is this person: for made-up data only.
    Open(String),
    /// By a client's certificate, or by password.
    Users(Users),
    /// By the header of a proxy in front, on a Unix socket.
    Proxy {
        /// Name of the header, in lower case.
        header: String,
        /// User ids of the proxy; empty: whoever the permissions of the socket let connect.
        uids: Vec<u32>,
        /// Roles by name.
        roles: Roles,
    },
}

impl Access {
    /// What TLS connections are made with; none without TLS.
    pub fn tls(&self) -> Option<TlsServer> {
        match self {
            Self::Users(users) => users.tls(),
            Self::Open(_) | Self::Proxy { .. } => None,
        }
    }

    /// Folders of the files that say who may look.
    pub fn folders(&self) -> Vec<PathBuf> {
        match self {
            Self::Users(users) => users.folders(),
            Self::Open(_) | Self::Proxy { .. } => Vec::new(),
        }
    }
}

/// Makes what stands in forms for people without a session.
pub struct FormKey(hmac::Key);

impl FormKey {
    /// A new one: forms of another start are refused.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> std::io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        key.map(Self).map_err(|_| std::io::Error::other("the system gives no random numbers"))
    }

    /// The token of a person.
    pub fn token(&self, name: &str) -> String {
        hex(hmac::sign(&self.0, name.as_bytes()).as_ref())
    }
}

/// 128 bits that nobody can guess. None if the system gives none.
fn random() -> Option<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub fn is_same(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |sum, (one, other)| sum | (one ^ other));
    one.len() == other.len() && differences == 0
}
