//! `/etc/vigie-forward/forward.toml`: settings and `[[receiver]]` tables, or every error with file, line, key and mend.

mod fields;
mod kafka;
mod receivers;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use vigie_config::{ConfigErrors, Layers, Schema, Severity};

use crate::encode::Encoding;
use crate::secret::SecretFile;
use crate::selection::Selection;
use crate::settings::Settings;

/// Everything that the file says.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The settings beside the receivers.
    pub settings: Settings,
    /// The receivers, in the order of the file.
    pub receivers: Vec<ReceiverSettings>,
    /// What is probably not intended, a line each.
    pub warnings: Vec<String>,
    /// The file, as it was named; none if there is none.
    pub file: Option<String>,
}

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// Its name, also that of its cursor's file.
    pub name: String,
    /// Which events it gets.
    pub selection: Selection,
    /// How an event is written.
    pub encoding: Encoding,
    /// Where it is.
    pub kind: KindSettings,
}

/// The kinds of receivers with their own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindSettings {
    /// A file of lines.
    File(FileSettings),
    /// The standard output.
    Stdout,
    /// The systemd journal.
    Journald {
        /// The socket of its native protocol.
        socket: PathBuf,
    },
    /// A syslog server.
    Syslog(SyslogSettings),
    /// An HTTP server.
    Webhook(WebhookSettings),
    /// A topic of Kafka.
    Kafka(KafkaSettings),
}

impl KindSettings {
    /// The word in the file.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Stdout => "stdout",
            Self::Journald { .. } => "journald",
            Self::Syslog(_) => "syslog",
            Self::Webhook(_) => "webhook",
            Self::Kafka(_) => "kafka",
        }
    }
}

/// A file of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Where it is.
    pub path: PathBuf,
    /// Its permissions if it is made anew.
    pub mode: u32,
}

vigie_config::choices! {
    /// How syslog messages travel.
    Transport {
        /// A datagram each (RFC 5426).
        Udp = "udp",
        /// A stream with octet counting (RFC 6587).
        Tcp = "tcp",
        /// The same over TLS (RFC 5425).
        Tls = "tls",
    }
    /// What a webhook wants.
    WebhookFormat {
        /// An array of events.
        Json = "json",
        /// Splunk's HTTP Event Collector.
        SplunkHec = "splunk-hec",
        /// The `_bulk` interface of Elasticsearch and OpenSearch.
        Elasticsearch = "elasticsearch",
        /// Alerts of TheHive.
        TheHive = "thehive",
        /// Alerts of Prometheus' Alertmanager, version 2 of its interface.
        Alertmanager = "alertmanager",
    }
    /// How Kafka asks for user and password (SASL, RFC 4422).
    SaslMechanism {
        /// The password as it is (RFC 4616).
        Plain = "plain",
        /// SCRAM with SHA-256 (RFC 7677).
        ScramSha256 = "scram-sha-256",
        /// SCRAM with SHA-512.
        ScramSha512 = "scram-sha-512",
    }
}

/// TLS as a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Authorities that may sign the server's certificate; those of the system if none is given.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name in the server's certificate, if it is not the host of the address.
    pub server_name: Option<String>,
}

/// A syslog server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogSettings {
    /// Host and port.
    pub server: String,
    /// How messages travel.
    pub transport: Transport,
    /// For TLS.
    pub tls: TlsSettings,
    /// Number of the facility (RFC 5424 section 6.2.1).
    pub facility: u8,
    /// APP-NAME of the messages.
    pub app_name: String,
    /// SD-ID of the structured data; none if there shall be none.
    pub structured_data_id: Option<String>,
    /// Lines that are sent again after a connection broke.
    pub resend_lines: usize,
    /// How long connecting may take, and how long the server may acknowledge nothing.
    pub timeout_s: u64,
}

/// How a server knows who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// It does not.
    None,
    /// By user and password.
    Password {
        /// The user.
        user: String,
        /// The file of the password.
        file: SecretFile,
    },
    /// By a token.
    Token {
        /// The word before the token in the header `Authorization`.
        scheme: String,
        /// The file of the token.
        file: SecretFile,
    },
}

/// An HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where requests are sent.
    pub url: String,
    /// What it wants.
    pub format: WebhookFormat,
    /// Who sends.
    pub credentials: Credentials,
    /// For `https`.
    pub tls: TlsSettings,
    /// An HTTP proxy.
    pub proxy: Option<String>,
    /// How long a request may take.
    pub timeout_s: u64,
    /// Tries of an event that the receiver rejects, before it is set aside.
    pub rejected_tries_max: u64,
    /// The index of Elasticsearch or Splunk; that of the URL or token if none is given.
    pub index: Option<String>,
    /// Splunk's source type.
    pub source_type: String,
    /// Seconds for which Alertmanager holds an incident open without news of it.
    pub resolve_after_s: u64,
}

/// A topic of Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Hosts and ports of some brokers, with commas; they know the others.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// Over TLS or without.
    pub transport: Transport,
    /// For TLS.
    pub tls: TlsSettings,
    /// Who sends.
    pub credentials: Credentials,
    /// How user and password are asked for.
    pub sasl_mechanism: SaslMechanism,
    /// How long a batch may take until all of it is acknowledged.
    pub timeout_s: u64,
}

impl Configuration {
    /// Reads all layers.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(layers: &Layers) -> Result<Self, ConfigErrors> {
        let loaded = Settings::load(layers)?;
        let label = loaded.file.clone().unwrap_or_default();
        let (receivers, mut findings) = receivers::read(&label, &loaded.text, &loaded.settings);
        findings.extend(loaded.warnings);
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            findings.sort_by(|one, other| one.origin.cmp(&other.origin));
            return Err(ConfigErrors(findings));
        }
        let warnings = findings.iter().map(ToString::to_string).collect();
        Ok(Self { settings: loaded.settings, receivers, warnings, file: loaded.file })
    }
}
