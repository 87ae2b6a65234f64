//! Who may sign in, and as what: passwords in the web configuration of Prometheus' exporters, roles in the settings.

use std::path::Path;

use vigie_metrics::server::web_config::{WebConfig, WebConfigError};

use super::Role;

/// Why users cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error(transparent)]
    File(#[from] WebConfigError),
    #[error(
        "{0}: tls_server_config: the console speaks no TLS itself; remove the section, and put a proxy with TLS in front"
    )]
    Tls(String),
    #[error("{0}: has no user; add one under basic_auth_users")]
    Nobody(String),
}

/// Names, hashes of passwords, and roles.
#[derive(Clone, Debug, Default)]
pub struct Users {
    hashes: Vec<(String, String)>,
    analysts: Vec<String>,
    dpos: Vec<String>,
}

impl Users {
    /// Roles without passwords.
    pub fn of_roles(analysts: &[String], dpos: &[String]) -> Self {
        Self { hashes: Vec::new(), analysts: analysts.to_vec(), dpos: dpos.to_vec() }
    }

    /// Reads the file of passwords.
    ///
    /// # Errors
    /// The file is wrong, has no user, or asks for TLS.
    pub fn read(file: &Path, analysts: &[String], dpos: &[String]) -> Result<Self, UsersError> {
        let config = WebConfig::read(file)?;
        if config.tls.is_some() {
            return Err(UsersError::Tls(file.display().to_string()));
        }
        if config.users.is_empty() {
            return Err(UsersError::Nobody(file.display().to_string()));
        }
        Ok(Self { hashes: config.users, ..Self::of_roles(analysts, dpos) })
    }

    /// The hash of a user's password; of another for a user who is not there, so that the time does not tell who is.
    pub fn hash(&self, name: &str) -> (&str, bool) {
        let known = self.hashes.iter().find(|(known, _)| known == name);
        let first = self.hashes.first().map_or("", |(_, hash)| hash.as_str());
        known.map_or((first, false), |(_, hash)| (hash.as_str(), true))
    }

    /// The role of a user: viewer unless the settings say more.
    pub fn role(&self, name: &str) -> Role {
        let is_in = |names: &[String]| names.iter().any(|known| known == name);
        match (is_in(&self.dpos), is_in(&self.analysts)) {
            (true, _) => Role::Dpo,
            (false, true) => Role::Analyst,
            (false, false) => Role::Viewer,
        }
    }
}
