//! `[[receiver]]`: who gets which events, and how.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use vigie_config::{Fault, Finding, Severity};

use super::fields::{Fields, Text};
use super::kafka::kafka;
use super::{
    Credentials, FileSettings, KindSettings, ReceiverSettings, SyslogSettings, TlsSettings, Transport, WebhookFormat,
    WebhookSettings,
};
use crate::encode::Encoding;
use crate::secret::SecretFile;
use crate::selection::{Class, Selection};
use crate::settings::Settings;

/// Most receivers: each has a thread.
const RECEIVERS_MAX: usize = 64;
/// Longest name: it is part of a file's name.
const NAME_BYTES_MAX: usize = 64;
const KINDS: [&str; 6] = ["file", "stdout", "journald", "syslog", "webhook", "kafka"];
const ENCODINGS: [&str; 5] = ["eve", "ecs", "ocsf", "cef", "leef"];
/// The socket of systemd-journald's native protocol.
const JOURNALD_SOCKET: &str = "/run/systemd/journal/socket";
const RESEND_LINES_DEFAULT: u64 = 1_000;
pub(super) const TIMEOUT_S_DEFAULT: u64 = 30;
const RESOLVE_AFTER_S_DEFAULT: u64 = 86_400;
const REJECTED_TRIES_DEFAULT: u64 = 3;
/// Facilities of RFC 5424 section 6.2.1 by their usual names; the place is the number.
#[rustfmt::skip]
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit",
    "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Reads all of them.
pub(super) fn read(label: &str, text: &str, settings: &Settings) -> (Vec<ReceiverSettings>, Vec<Finding>) {
    let text = Text::new(label, text);
    let mut findings = Vec::new();
    let mut receivers: Vec<ReceiverSettings> = Vec::new();
    let mut names = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for place in text.tables("receiver") {
        let mut fields = Fields::new(&text, "receiver", place, &mut findings);
        if receivers.len() == RECEIVERS_MAX {
            let what = format!("more than {RECEIVERS_MAX} receivers");
            fields.refuse("name", "", Fault::new(what, "let receivers pass events on to others"));
            break;
        }
        let Some((receiver, mut fields)) = read_one(fields) else { continue };
        if !names.insert(receiver.name.clone()) {
            let fault = Fault::new("another receiver has this name", "give each receiver a name of its own");
            fields.refuse("name", &receiver.name, fault);
        }
        if let KindSettings::File(file) = &receiver.kind {
            let folders = [("journal.folder", &settings.journal.folder), ("state.folder", &settings.state.folder)];
            let within = folders.into_iter().find(|(_, folder)| file.path.starts_with(folder));
            let fault = match within {
                // What it writes there would be read again, and sent again, for ever.
                Some((key, _)) => {
                    Some(Fault::new(format!("this file would be in {key}"), "write it to another folder"))
                }
                None if paths.insert(file.path.clone()) => None,
                None => Some(Fault::new("another receiver writes this file", "give each receiver a file of its own")),
            };
            if let Some(fault) = fault {
                fields.refuse("path", &file.path.display().to_string(), fault);
            }
        }
        fields.finish(receiver.kind.as_str());
        receivers.push(receiver);
    }
    if receivers.is_empty() && !findings.iter().any(|finding| finding.severity == Severity::Error) {
        let fault = Fault::new("there is no receiver", "add [[receiver]] with name and kind");
        findings.push(Finding::error(text.origin(0), "receiver", "", fault));
    }
    (receivers, findings)
}

/// One receiver, if nothing that it must have is wrong. Its fields are given back to be finished.
fn read_one<'a, 't>(mut fields: Fields<'a, 't>) -> Option<(ReceiverSettings, Fields<'a, 't>)> {
    let findings = fields.findings();
    let name = fields.needed("name", "\"soc\"");
    if let Some(name) = &name {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) || name.starts_with(['.', '-']) {
            let mend = format!("write at most {NAME_BYTES_MAX} of a-z, A-Z, 0-9, - and _");
            fields.refuse("name", name, Fault::new("the name cannot be that of a file", mend));
        }
    }
    let known: Vec<&str> = Class::WORDS.to_vec();
    let classes = fields.words("events", &known, &[Class::Incidents]);
    let is_given = fields.has("encoding");
    let encoding = fields.word("encoding", &ENCODINGS, Encoding::Eve);
    let kind = match fields.needed("kind", "\"file\"").as_deref() {
        Some("file") => Some(KindSettings::File(file(&mut fields)?)),
        Some("stdout") => Some(KindSettings::Stdout),
        Some("journald") => {
            let socket = absolute(&mut fields, "socket").unwrap_or_else(|| JOURNALD_SOCKET.into());
            Some(KindSettings::Journald { socket })
        }
        Some("syslog") => syslog(&mut fields).map(KindSettings::Syslog),
        Some("webhook") => webhook(&mut fields).map(KindSettings::Webhook),
        Some("kafka") => Some(KindSettings::Kafka(kafka(&mut fields)?)),
        Some(other) => {
            let mend = match vigie_config::nearest(other, KINDS) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write one of {}", KINDS.join(", ")),
            };
            fields.refuse("kind", other, Fault::new("unknown kind", mend));
            return None;
        }
        None => return None,
    };
    let (Some(kind), Some(encoding)) = (kind, encoding) else {
        return None;
    };
    if let KindSettings::Webhook(webhook) = &kind {
        check_format(&mut fields, webhook.format, encoding, is_given, &classes);
    }
    let is_faultless = fields.findings() == findings;
    let receiver =
        ReceiverSettings { name: name.unwrap_or_default(), selection: Selection::of(&classes), encoding, kind };
    match is_faultless {
        true => Some((receiver, fields)),
        false => {
            fields.finish(receiver.kind.as_str());
            None
        }
    }
}

/// An absolute path, if the key is given.
fn absolute(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<PathBuf> {
    let path = fields.text(key)?;
    if let Err((what, mend)) = vigie_config::absolute_path(&path) {
        fields.refuse(key, &path, Fault::new(what, mend));
        return None;
    }
    Some(path.into())
}

fn file(fields: &mut Fields<'_, '_>) -> Option<FileSettings> {
    if !fields.has("path") {
        fields.missing("path", "\"/var/log/vigie-forward/eve.json\"");
    }
    let path = absolute(fields, "path")?;
    if path.to_string_lossy().ends_with('/') {
        fields.refuse("path", "", Fault::new("it names a folder", "add the name of a file"));
    }
    let mode = fields.number("mode", 0, 0o777, 0o640);
    Some(FileSettings { path, mode: u32::try_from(mode).unwrap_or(0o640) })
}

fn tls(fields: &mut Fields<'_, '_>) -> TlsSettings {
    let ca_file = absolute(fields, "ca_file");
    let certificate = absolute(fields, "certificate_file");
    fields.refuse_secret("key", "key_file");
    let key = fields.text("key_file").map(PathBuf::from);
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            fields.missing("key_file", "\"/…\", the key of the certificate");
            None
        }
        (None, Some(_)) => {
            fields.missing("certificate_file", "\"/…\", the certificate of the key");
            None
        }
    };
    TlsSettings { ca_file, client, server_name: fields.text("server_name") }
}

/// TLS of servers whose certificate must be for the host in this key.
pub(super) fn tls_by_host(fields: &mut Fields<'_, '_>, key: &str) -> TlsSettings {
    let tls = tls(fields);
    if tls.server_name.is_some() {
        let mend = format!("remove it; the host in {key} is the name that the certificate must have");
        fields.refuse("server_name", "", Fault::new("this kind has none", mend));
    }
    tls
}

fn syslog(fields: &mut Fields<'_, '_>) -> Option<SyslogSettings> {
    let transport = fields.word("transport", Transport::WORDS, Transport::Tls);
    let server = fields.needed("server", "\"siem.example.org:6514\"");
    if let Some(server) = &server
        && !is_host_and_port(server)
    {
        let mend = "write \"host:port\"; the usual port is 514, over TLS 6514";
        fields.refuse("server", server, Fault::new("expected a host and a port", mend));
    }
    let tls = if transport == Some(Transport::Tls) { tls(fields) } else { TlsSettings::default() };
    let facility = match fields.text("facility") {
        None => Some(16),
        Some(word) => {
            let number = FACILITIES.iter().position(|known| *known == word);
            if number.is_none() {
                let near = vigie_config::nearest(&word, FACILITIES).unwrap_or("local0");
                fields.refuse("facility", &word, Fault::new("unknown facility", format!("did you mean \"{near}\"?")));
            }
            number.and_then(|number| u8::try_from(number).ok())
        }
    };
    let app_name = printable(fields, "app_name", 48).unwrap_or_else(|| "vigie".to_owned());
    let structured_data_id = printable(fields, "structured_data_id", 32);
    let resends = transport.is_some_and(|transport| transport != Transport::Udp);
    let resend_lines = if resends { fields.number("resend_lines", 0, 1_000_000, RESEND_LINES_DEFAULT) } else { 0 };
    Some(SyslogSettings {
        server: server?,
        transport: transport?,
        tls,
        facility: facility?,
        app_name,
        structured_data_id,
        resend_lines: usize::try_from(resend_lines).unwrap_or(usize::MAX),
        timeout_s: fields.number("timeout_s", 1, 600, TIMEOUT_S_DEFAULT),
    })
}

/// A field of a syslog header: PRINTUSASCII (RFC 5424 section 6), and nothing that would end structured data.
fn printable(fields: &mut Fields<'_, '_>, key: &'static str, bytes_max: usize) -> Option<String> {
    let text = fields.text(key)?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"=]\"".contains(&byte));
    if text.len() > bytes_max || !is_plain {
        let mend = format!("write at most {bytes_max} visible ASCII characters, without = ] \"");
        fields.refuse(key, &text, Fault::new("it cannot stand in a syslog message", mend));
    }
    Some(text)
}

pub(super) fn is_host_and_port(server: &str) -> bool {
    let Some((host, port)) = server.rsplit_once(':') else { return false };
    let is_literal = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && (is_literal || !host.contains([':', '/', '@', ' ']));
    is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn webhook(fields: &mut Fields<'_, '_>) -> Option<WebhookSettings> {
    let format = fields.word("format", WebhookFormat::WORDS, WebhookFormat::Json);
    let url = fields.needed("url", "\"https://siem.example.org/events\"");
    let url = url.and_then(|url| checked_url(fields, "url", url, &["https://", "http://"]));
    let is_plain = url.as_deref().is_some_and(|url| url.starts_with("http://"));
    let tls = if is_plain { TlsSettings::default() } else { tls_by_host(fields, "url") };
    let credentials = credentials(fields, format.unwrap_or(WebhookFormat::Json));
    let proxy = fields.text("proxy").and_then(|proxy| checked_url(fields, "proxy", proxy, &["http://"]));
    let index = match format {
        Some(WebhookFormat::Elasticsearch | WebhookFormat::SplunkHec) => fields.text("index"),
        _ => None,
    };
    let source_type = match format {
        Some(WebhookFormat::SplunkHec) => fields.text("source_type"),
        _ => None,
    };
    let resolve_after_s = match format {
        Some(WebhookFormat::Alertmanager) => fields.number("resolve_after_s", 60, 30 * 86_400, RESOLVE_AFTER_S_DEFAULT),
        _ => RESOLVE_AFTER_S_DEFAULT,
    };
    Some(WebhookSettings {
        url: url?,
        format: format?,
        credentials: credentials?,
        tls,
        proxy,
        timeout_s: fields.number("timeout_s", 1, 600, TIMEOUT_S_DEFAULT),
        rejected_tries_max: fields.number("rejected_tries_max", 1, 1_000, REJECTED_TRIES_DEFAULT),
        index,
        source_type: source_type.unwrap_or_else(|| "vigie:eve".to_owned()),
        resolve_after_s,
    })
}

/// A URL of one of these schemes without a password in it.
fn checked_url(fields: &mut Fields<'_, '_>, key: &'static str, url: String, schemes: &[&str]) -> Option<String> {
    let after = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    let Some(after) = after else {
        let mend = format!("write {}…", schemes.first().copied().unwrap_or_default());
        fields.refuse(key, "", Fault::new("expected a URL", mend));
        return None;
    };
    let host = after.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        let mend = match key {
            "proxy" => "take it out; a proxy with a password is not supported",
            _ => "take it out, and give user and password_file",
        };
        fields.refuse(key, "", Fault::new("a secret does not belong into this file", mend));
        return None;
    }
    if host.is_empty() || after.contains(char::is_whitespace) {
        fields.refuse(key, "", Fault::new("expected a URL with a host", "write it without spaces"));
        return None;
    }
    // An address of IPv6 stands in brackets; a port may follow either.
    let after_host = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok()).map(|(_, after)| after),
        None => Some(host.find(':').map_or("", |at| host.get(at..).unwrap_or_default())),
    };
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    if !after_host.is_some_and(|after| after.is_empty() || after.strip_prefix(':').is_some_and(is_port)) {
        let fault = Fault::new("expected a host, or a host and a port up to 65535", "write https://host:port/…");
        fields.refuse(key, "", fault);
        return None;
    }
    Some(url)
}

fn credentials(fields: &mut Fields<'_, '_>, format: WebhookFormat) -> Option<Credentials> {
    fields.refuse_secret("password", "password_file");
    fields.refuse_secret("token", "token_file");
    let user = fields.text("user");
    let password = fields.text("password_file").map(|path| SecretFile(Path::new(&path).to_owned()));
    let token = fields.text("token_file").map(|path| SecretFile(Path::new(&path).to_owned()));
    let usual = match format {
        WebhookFormat::SplunkHec => "Splunk",
        WebhookFormat::Elasticsearch => "ApiKey",
        _ => "Bearer",
    };
    let scheme = match token {
        Some(_) => printable(fields, "token_scheme", 32),
        None => None,
    };
    match (user, password, token) {
        (None, None, None) => Some(Credentials::None),
        (Some(user), Some(file), None) => Some(Credentials::Password { user, file }),
        (None, None, Some(file)) => {
            Some(Credentials::Token { scheme: scheme.unwrap_or_else(|| usual.to_owned()), file })
        }
        (Some(_), None, None) => {
            fields.missing("password_file", "\"/…\"");
            None
        }
        (None, Some(_), None) => {
            fields.missing("user", "\"…\"");
            None
        }
        (_, _, Some(_)) => {
            let fault = Fault::new("there is a password as well", "give user and password_file, or token_file");
            fields.refuse("token_file", "", fault);
            None
        }
    }
}

/// Whether a format can carry what is asked for.
fn check_format(
    fields: &mut Fields<'_, '_>,
    format: WebhookFormat,
    encoding: Encoding,
    is_given: bool,
    classes: &[Class],
) {
    let has_own_form = matches!(format, WebhookFormat::TheHive | WebhookFormat::Alertmanager);
    let encoding = encoding.to_string();
    if has_own_form && is_given {
        let what = format!("the format {format} has a form of its own");
        fields.refuse("encoding", &encoding, Fault::new(what, "remove the key"));
    } else if matches!(encoding.as_str(), "cef" | "leef") {
        let what = format!("the format {format} carries JSON");
        fields.refuse("encoding", &encoding, Fault::new(what, "write \"eve\", \"ecs\" or \"ocsf\""));
    }
    if has_own_form && classes.iter().any(|class| *class != Class::Incidents) {
        let what = format!("the format {format} carries incidents only");
        fields.refuse("events", "", Fault::new(what, "write events = [\"incidents\"]"));
    }
}
