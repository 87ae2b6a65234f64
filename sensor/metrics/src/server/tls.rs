//! Builds the TLS server from the files that the web configuration names.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use super::web_config::{ClientAuth, TlsConfig, TlsVersion, WebConfigError, regular_file};

/// The TLS server configuration; `file` is the web configuration, which errors name.
pub(super) fn server_config(file: &Path, tls: &TlsConfig) -> Result<Arc<ServerConfig>, WebConfigError> {
    let error = |key: &str, what: String| WebConfigError {
        file: file.to_owned(),
        line: tls.line,
        key: format!("tls_server_config.{key}"),
        what,
    };
    let certificates = certificates(&tls.cert_file).map_err(|what| error("cert_file", what))?;
    let key = regular_file(&tls.key_file).map_err(pem::Error::Io);
    let key = key
        .and_then(|_| PrivateKeyDer::from_pem_file(&tls.key_file))
        .map_err(|why| error("key_file", unreadable(&tls.key_file, "private key", &why)))?;
    let versions: &[&SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::Tls12 => &[&version::TLS13, &version::TLS12],
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|why| error("min_version", format!("{why}; give TLS12")))?;
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates(ca).map_err(|what| error("client_ca_file", what))? {
                let unusable =
                    |why| error("client_ca_file", format!("{}: {why}; give certificates of authorities", ca.display()));
                roots.add(certificate).map_err(unusable)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match tls.client_auth {
                ClientAuth::IfGiven => verifier.allow_unauthenticated(),
                ClientAuth::None | ClientAuth::Required => verifier,
            };
            let unusable = |why: VerifierBuilderError| {
                error("client_ca_file", format!("{}: {why}; give certificates of authorities", ca.display()))
            };
            builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|why| {
        error(
            "key_file",
            format!("does not match {}: {why}; give the key of that certificate", tls.cert_file.display()),
        )
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = regular_file(file).map_err(pem::Error::Io);
    let read = read.and_then(|_| CertificateDer::pem_file_iter(file)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|why| unreadable(file, "certificate", &why))?;
    match certificates.is_empty() {
        true => Err(format!("{} contains no certificate; give a PEM file", file.display())),
        false => Ok(certificates),
    }
}

fn unreadable(file: &Path, what: &str, why: &pem::Error) -> String {
    use pem::Error;
    match why {
        Error::Io(why) => format!("{} cannot be read: {why}; check path and permissions", file.display()),
        Error::NoItemsFound => format!("{} contains no {what}; give a PEM file", file.display()),
        why => format!("{} is not a {what} in PEM: {why}; give a PEM file", file.display()),
    }
}
