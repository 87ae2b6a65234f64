//! The keys of a receiver of kind `kafka`.

use std::path::Path;

use vigie_config::Fault;

use super::fields::Fields;
use super::receivers::{TIMEOUT_S_DEFAULT, is_host_and_port, tls_by_host};
use super::{Credentials, KafkaSettings, SaslMechanism, TlsSettings, Transport};
use crate::secret::SecretFile;

/// Whether this program can send to Kafka.
pub(super) const IS_BUILT_IN: bool = cfg!(feature = "kafka");
/// Longest name of a topic; Kafka itself refuses longer ones.
const TOPIC_BYTES_MAX: usize = 249;

pub(super) fn kafka(fields: &mut Fields<'_, '_>) -> Option<KafkaSettings> {
    if !IS_BUILT_IN {
        let mend = "install the Debian package, or build with --features kafka";
        fields.refuse("kind", "kafka", Fault::new("this program was built without Kafka", mend));
        return None;
    }
    let brokers = fields.needed("brokers", "\"kafka1.example.org:9093,kafka2.example.org:9093\"");
    if let Some(text) = &brokers
        && !text.split(',').all(|broker| is_host_and_port(broker.trim()))
    {
        let mend = "write \"host:port,host:port\"; the usual port is 9092, over TLS 9093";
        fields.refuse("brokers", text, Fault::new("expected hosts and ports", mend));
    }
    let topic = fields.needed("topic", "\"vigie-events\"");
    if let Some(text) = &topic {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if text.len() > TOPIC_BYTES_MAX || !is_plain || matches!(text.as_str(), "." | "..") {
            let mend = format!("write at most {TOPIC_BYTES_MAX} of a-z, A-Z, 0-9, ., _ and -");
            fields.refuse("topic", text, Fault::new("the name cannot be that of a topic", mend));
        }
    }
    let transport = fields.word("transport", &["tls", "tcp"], Transport::Tls)?;
    if transport == Transport::Udp {
        fields.refuse("transport", "udp", Fault::new("Kafka needs a connection", "write \"tls\" or \"tcp\""));
    }
    let tls = if transport == Transport::Tls { tls_by_host(fields, "brokers") } else { TlsSettings::default() };
    let credentials = credentials(fields)?;
    let sasl_mechanism = match credentials {
        Credentials::None => SaslMechanism::ScramSha512,
        _ => fields.word("sasl_mechanism", SaslMechanism::WORDS, SaslMechanism::ScramSha512)?,
    };
    Some(KafkaSettings {
        brokers: brokers?,
        topic: topic?,
        transport,
        tls,
        credentials,
        sasl_mechanism,
        timeout_s: fields.number("timeout_s", 1, 600, TIMEOUT_S_DEFAULT),
    })
}

fn credentials(fields: &mut Fields<'_, '_>) -> Option<Credentials> {
    fields.refuse_secret("password", "password_file");
    let user = fields.text("user");
    let password = fields.text("password_file").map(|path| SecretFile(Path::new(&path).to_owned()));
    match (user, password) {
        (None, None) => Some(Credentials::None),
        (Some(user), Some(file)) => Some(Credentials::Password { user, file }),
        (Some(_), None) => {
            fields.missing("password_file", "\"/…\"");
            None
        }
        (None, Some(_)) => {
            fields.missing("user", "\"…\"");
            None
        }
    }
}
