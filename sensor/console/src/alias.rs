//! Names that viewers see in place of clients and ids of incidents: keyed hashes, since from a plain hash an address is
//! found by trying all. The key is the console's own and survives a rebuild of the tables.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

const KEY_BYTES: usize = 32;

/// The key of the aliases.
#[derive(Clone)]
pub struct AliasKey(hmac::Key);

impl AliasKey {
    /// Reads the key, or makes one.
    ///
    /// # Errors
    /// The file cannot be read or written, or is none of this program's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path)?,
            read => read?,
        };
        if bytes.len() != KEY_BYTES {
            return Err(io::Error::other("it is no key of pseudonyms; remove it, and viewers get new pseudonyms"));
        }
        Ok(Self::new(&bytes))
    }

    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The alias of a client; empty for none.
    pub fn client(&self, client: &str) -> String {
        if client.is_empty() { String::new() } else { format!("device-{}", self.hex(b"client", client)) }
    }

    /// The alias of an incident's id.
    pub fn incident(&self, id: &str) -> String {
        format!("v-{}", self.hex(b"incident", id))
    }

    fn hex(&self, purpose: &[u8], text: &str) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose);
        context.update(&[0]);
        context.update(text.as_bytes());
        context.sign().as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn make(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_need_the_key_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alias.key");
        let key = AliasKey::open(&path).unwrap();
        let alias = key.client("10.16.0.105");
        assert!(alias.starts_with("device-") && alias.len() == 19 && !alias.contains("10.16"), "{alias}");
        assert_eq!(AliasKey::open(&path).unwrap().client("10.16.0.105"), alias);
        assert_ne!(AliasKey::new(&[1; 32]).client("10.16.0.105"), alias);
        assert_ne!(key.incident("10.16.0.105")[2..], alias[7..]);
        assert_eq!(key.client(""), "");
        fs::write(&path, "short").unwrap();
        assert!(AliasKey::open(&path).is_err());
    }
}
