//! Who may sign in, and as what: passwords and authorities of certificates in the web configuration of Prometheus' exporters,
//! roles in the settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vigie_metrics::server::Log;
use vigie_metrics::server::live_config::{LiveConfig, TlsServer};
use vigie_metrics::server::web_config::{ClientAuth, WebConfig, WebConfigError};

use super::Role;

/// Why users cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error(transparent)]
    File(#[from] WebConfigError),
    #[error(
        "{0}: nobody could sign in; add a user under basic_auth_users, or client_ca_file and client_auth_type under \
         tls_server_config"
    )]
    Nobody(String),
}

/// Roles by name.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    pub viewers: Vec<String>,
    pub analysts: Vec<String>,
    pub dpos: Vec<String>,
}

impl Roles {
    /// The role of somebody who may look in any case: viewer unless the settings say more.
    pub fn role(&self, name: &str) -> Role {
        self.given(name).unwrap_or(Role::Viewer)
    }

    /// The name and role that a verified certificate gives; none if the settings name nobody of it. An authority signs
    /// certificates for many purposes, so the certificate alone allows nothing.
    pub fn of_certificate<'n>(&self, names: &'n [String]) -> Option<(&'n str, Role)> {
        let given = names.iter().filter_map(|name| self.given(name).map(|role| (name.as_str(), role)));
        given.max_by_key(|(_, role)| *role)
    }

    fn given(&self, name: &str) -> Option<Role> {
        let is_in = |names: &[String]| names.iter().any(|known| known == name);
        match () {
            () if is_in(&self.dpos) => Some(Role::Dpo),
            () if is_in(&self.analysts) => Some(Role::Analyst),
            () if is_in(&self.viewers) => Some(Role::Viewer),
            () => None,
        }
    }
}

/// The web configuration, kept up to date, and roles.
pub struct Users {
    web: LiveConfig,
    pub roles: Roles,
}

impl Users {
    /// Reads the web configuration with the files that it names.
    ///
    /// # Errors
    /// One of them is wrong, or nobody could sign in.
    pub fn read(file: &Path, roles: Roles, log: Log) -> Result<Self, UsersError> {
        let config = WebConfig::read(file)?;
        let asks_certificates = config.tls.is_some_and(|tls| tls.client_auth != ClientAuth::None);
        if config.users.is_empty() && !asks_certificates {
            return Err(UsersError::Nobody(file.display().to_string()));
        }
        Ok(Self { web: LiveConfig::open(Some(file), Arc::default(), log)?, roles })
    }

    /// The hash of a user's password; of another for a user who is not there, so that the time does not tell who is.
    pub fn hash(&self, name: &str) -> (String, bool) {
        let users = self.web.current().users;
        let known = users.iter().find(|(known, _)| known == name);
        let first = users.first().map(|(_, hash)| hash.clone()).unwrap_or_default();
        known.map_or((first, false), |(_, hash)| (hash.clone(), true))
    }

    /// Whether somebody can sign in by password.
    pub fn has_passwords(&self) -> bool {
        !self.web.current().users.is_empty()
    }

    /// What TLS connections are made with, as the files are now; none without TLS.
    pub fn tls(&self) -> Option<TlsServer> {
        self.web.current().tls
    }

    /// Folders that must stay readable, so that certificates and passwords can change while the program runs.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.web.folders()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_gives_the_highest_role_of_its_names_and_none_to_others() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let roles = Roles { viewers: names(&["v@x"]), analysts: names(&["a@x"]), dpos: names(&["d@x", "a@x"]) };
        assert_eq!(roles.of_certificate(&names(&["v@x"])), Some(("v@x", Role::Viewer)));
        assert_eq!(roles.of_certificate(&names(&["v@x", "a@x"])), Some(("a@x", Role::Dpo)));
        assert_eq!(roles.of_certificate(&names(&["A@x", "other"])), None);
        assert_eq!(roles.of_certificate(&[]), None);
        assert_eq!((roles.role("other"), roles.role("d@x")), (Role::Viewer, Role::Dpo));
    }
}
