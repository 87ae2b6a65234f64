//! TLS as a client: certificates of authorities, our own, and what errors mean. Files are read again at each connection, so
//! that a renewed certificate needs no restart.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};

use super::connect::connect;
use crate::configuration::TlsSettings;
use crate::error::{ErrorKind, SendError, plain};
use crate::secret::credential_path;

/// Where Debian, and most others, have the authorities that the system trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The certificates that are needed, read and checked.
pub struct Certificates {
    /// Authorities that may sign the server's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Ours, and its key.
    pub client: Option<ClientCertificate>,
}

/// Our certificate, with those between it and its authority, and its key.
pub struct ClientCertificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub key_pem: Vec<u8>,
}

/// The cryptography that all connections use.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn wrong(path: &Path, what: &str, mend: &str) -> SendError {
    SendError::new(ErrorKind::Certificate, format!("{}: {what}; {mend}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SendError> {
    let bytes =
        fs::read(path).map_err(|error| wrong(path, &plain(&error), "give a file that this program can read"))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong(path, "it has no certificate in PEM", "it must have lines BEGIN CERTIFICATE")),
    }
}

impl TlsSettings {
    /// The file of the authorities.
    pub fn authorities(&self) -> &Path {
        self.ca_file.as_deref().unwrap_or_else(|| SYSTEM_AUTHORITIES.as_ref())
    }
}

/// Connects to `host:port`, and ends the handshake.
///
/// # Errors
/// There is no connection, or one side refuses the other.
pub fn handshake(
    server: &str,
    settings: &TlsSettings,
    timeout: Duration,
) -> Result<(TcpStream, Box<ClientConnection>), SendError> {
    let config = Certificates::read(settings)?.config()?;
    let host = server.rsplit_once(':').map_or("", |(host, _)| host);
    let name = settings.server_name.as_deref().unwrap_or(host).trim_matches(['[', ']']).to_owned();
    let wrong = |_| SendError::new(ErrorKind::Certificate, format!("{name} cannot be the name of a certificate"));
    let server_name = ServerName::try_from(name.clone()).map_err(wrong)?;
    let tls = ClientConnection::new(config.into(), server_name).map_err(|error| explain_tls(server, &error))?;
    let (mut stream, mut tls) = (connect(server, timeout)?, Box::new(tls));
    let unusable = |error: io::Error| SendError::connection(server, &error);
    stream.set_read_timeout(Some(timeout)).map_err(unusable)?;
    stream.set_write_timeout(Some(timeout)).map_err(unusable)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).map_err(|error| explain(server, &error))?;
    }
    // What is still to be sent of a handshake that has ended.
    while tls.wants_write() {
        tls.write_tls(&mut stream).map_err(|error| explain(server, &error))?;
    }
    Ok((stream, tls))
}

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn read(settings: &TlsSettings) -> Result<Self, SendError> {
        let mut read = Self { authorities: certificates(settings.authorities())?, client: None };
        if let Some((certificate, key)) = &settings.client {
            let chain = certificates(certificate)?;
            let path = credential_path(key).map_err(|message| SendError::new(ErrorKind::Certificate, message))?;
            let unreadable = |error| wrong(&path, &plain(&error), "give a file that this program can read");
            let bytes = fs::read(&path).map_err(unreadable)?;
            let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
                wrong(&path, "it has no key in PEM", "it must have a line BEGIN PRIVATE KEY, and no password")
            })?;
            read.client = Some(ClientCertificate { chain, key, key_pem: bytes });
        }
        Ok(read)
    }

    /// What rustls connects with.
    ///
    /// # Errors
    /// The key is not that of the certificate, or of a kind that is not supported.
    pub fn config(&self) -> Result<ClientConfig, SendError> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(self.authorities.iter().cloned());
        let failed = |what: String| SendError::new(ErrorKind::Certificate, what);
        if added == 0 {
            return Err(failed("no certificate of ca_file is one of an authority".to_owned()));
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(format!("TLS cannot be used: {error}")))?
            .with_root_certificates(roots);
        match &self.client {
            None => Ok(builder.with_no_client_auth()),
            Some(client) => builder
                .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
                .map_err(|error| failed(format!("certificate_file and key_file do not belong together: {error}"))),
        }
    }
}

/// What an error of a connection over TLS means.
pub fn explain(server: &str, error: &io::Error) -> SendError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => explain_tls(server, error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            SendError::new(ErrorKind::Connection, format!("{server} closed the connection; does it speak TLS there?"))
        }
        None => SendError::connection(server, error),
    }
}

/// What an error of TLS means.
pub fn explain_tls(server: &str, error: &rustls::Error) -> SendError {
    use CertificateError as C;
    let message = match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            C::Expired => format!("the certificate of {server} has expired; the server needs a new one"),
            C::ExpiredContext { not_after, .. } => {
                let seconds = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX);
                let time = time::OffsetDateTime::from_unix_timestamp(seconds).map(crate::time::rfc3339);
                let time = time.unwrap_or_default();
                format!("the certificate of {server} has expired, at {time}; the server needs a new one")
            }
            C::NotValidYet | C::NotValidYetContext { .. } => {
                format!("the certificate of {server} is not valid yet; is the clock of this machine right?")
            }
            C::NotValidForName => format!("the certificate of {server} is for another name; {NAME_MEND}"),
            C::NotValidForNameContext { expected, presented } => {
                let names = presented.join(", ");
                let expected = expected.to_str();
                format!("the certificate of {server} is for {names}, not for {expected}; {NAME_MEND}")
            }
            C::UnknownIssuer => format!(
                "the certificate of {server} is signed by an authority that is not known here; name its certificate in ca_file"
            ),
            other => format!("the certificate of {server} is refused: {other:?}"),
        },
        rustls::Error::AlertReceived(alert) if is_about_us(*alert) => {
            format!("{server} refuses our certificate ({alert:?}); check certificate_file and key_file")
        }
        rustls::Error::AlertReceived(alert) => {
            return SendError::new(ErrorKind::Connection, format!("{server} ended TLS: {alert:?}"));
        }
        rustls::Error::InvalidMessage(_) => {
            return SendError::new(ErrorKind::Connection, format!("{server} does not speak TLS there; check the port"));
        }
        other => return SendError::new(ErrorKind::Connection, format!("{server}: {other}")),
    };
    SendError::new(ErrorKind::Certificate, message)
}

const NAME_MEND: &str = "correct the host, or give the right name as server_name";

/// Alerts by which a server refuses a client's certificate (RFC 8446 section 6.2).
fn is_about_us(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::CertificateRequired
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
    )
}
