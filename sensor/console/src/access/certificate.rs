//! The names that a client's certificate gives. Only certificates that an authority of the web configuration signed come here.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The mail addresses of the certificate (subjectAltName, RFC 5280 §4.2.1.6); where it has none, its common names. A common name
/// counts only then, as in RFC 9525 §1.4: authorities check it less.
pub fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let mut names = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            if let GeneralName::RFC822Name(mail) = name {
                names.push((*mail).to_owned());
            }
        }
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name();
        names.extend(common.filter_map(|name| name.as_str().ok()).map(str::to_owned));
    }
    // A name that is cut or broken when it is shown would be another's.
    names.retain(|name| !name.is_empty() && name.len() <= 200 && !name.chars().any(char::is_control));
    names
}
