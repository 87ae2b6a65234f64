//! Passwords and tokens: read from a file when they are needed, and never shown.
//!
//! Each try reads the file again, so a corrected file takes effect without a restart.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use vigie_config::open_regular;

/// Longest secret; a token of a receiver has some hundred bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The variable in which systemd names the folder of a unit's credentials (`LoadCredential=`).
const CREDENTIALS_FOLDER: &str = "CREDENTIALS_DIRECTORY";

/// A secret. It has no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text itself, to be sent to the receiver that it is for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// A file that has a secret. A relative path is that of a systemd credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile(pub PathBuf);

impl SecretFile {
    /// Where the file is.
    ///
    /// # Errors
    /// The path is relative, and systemd gives no credentials.
    pub fn path(&self) -> Result<PathBuf, String> {
        credential_path(&self.0)
    }

    /// Reads it; a newline at its end is not part of the secret.
    ///
    /// # Errors
    /// What is wrong with the file, in a line that shows nothing of its content.
    pub fn read(&self) -> Result<Secret, String> {
        let path = self.path()?;
        let shown = path.display();
        let file = open_regular(&path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let mut text = String::new();
        let read = file.take(SECRET_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|_| format!("{shown} is not text; write the secret on one line"))?;
        let secret = text.trim_end_matches(['\r', '\n']);
        match secret {
            "" => Err(format!("{shown} is empty; write the secret on one line")),
            secret if secret.chars().any(char::is_control) => {
                Err(format!("{shown} has several lines; write the secret on one line"))
            }
            secret => Ok(Secret(secret.to_owned())),
        }
    }
}

/// A relative path is that of a credential that systemd gives the unit.
///
/// # Errors
/// The path is relative, and systemd gives no credentials.
pub fn credential_path(path: &Path) -> Result<PathBuf, String> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let folder = std::env::var_os(CREDENTIALS_FOLDER);
    folder.map(|folder| Path::new(&folder).join(path)).ok_or_else(|| {
        let name = path.display();
        format!("there is no credential {name}; add LoadCredential={name} to the unit, or give an absolute path")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_secret_is_read_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "opensesame\n").unwrap();
        let file = SecretFile(path.clone());
        let secret = file.read().unwrap();
        assert_eq!(secret.reveal(), "opensesame");
        assert!(!format!("{secret:?} {file:?}").contains("opensesame"));
        for content in ["", "\n", "opensesame\nagain", "open\0sesame"] {
            fs::write(&path, content).unwrap();
            let error = file.read().unwrap_err();
            assert!(error.ends_with("on one line") && !error.contains("sesame"), "{error}");
        }
        let error = SecretFile("token".into()).read().unwrap_err();
        assert!(error.contains("LoadCredential=token"), "{error}");
    }
}
