//! The web configuration: a file that gives the endpoint TLS and passwords, in the format of Prometheus' exporters, with
//! sections `tls_server_config` and `basic_auth_users`. Anything unknown is refused with file, line, key and mend: a
//! protection must not be left out silently. Anchors, sequences and several documents are not supported.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, Span};

/// Largest file that is read.
pub const WEB_CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Highest cost of a bcrypt hash. Each step doubles the time that a check takes; 16 takes some seconds.
const BCRYPT_COST_MAX: u32 = 16;

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// TLS, if any.
    pub tls: Option<TlsConfig>,
    /// Users and the bcrypt hashes of their passwords.
    pub users: Vec<(String, String)>,
}

/// Section `tls_server_config`. Relative paths start at the folder of the web configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates in PEM, the server's own first.
    pub cert_file: PathBuf,
    /// Private key in PEM.
    pub key_file: PathBuf,
    /// Authorities that sign clients' certificates, in PEM.
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients must show a certificate.
    pub client_auth: ClientAuth,
    /// Lowest TLS version.
    pub min_version: TlsVersion,
    /// Line of the section, for errors in the files that it names.
    pub line: usize,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// It is not requested.
    None,
    /// It is verified if the client has one.
    IfGiven,
    /// It is required and verified.
    Required,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// What is wrong with the file, where, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfigError {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// Section and key; empty if the error is about none.
    pub key: String,
    /// What is wrong, and the mend after a semicolon.
    pub what: String,
}

impl fmt::Display for WebConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if self.line > 0 {
            write!(formatter, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(formatter, ": {}", self.key)?;
        }
        write!(formatter, ": {}", self.what)
    }
}

impl std::error::Error for WebConfigError {}

impl WebConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(file: &Path) -> Result<Self, WebConfigError> {
        let whole = |what: String| WebConfigError { file: file.to_owned(), line: 0, key: String::new(), what };
        let unreadable = |error: std::io::Error| {
            whole(format!("cannot be read: {error}; check the path, and that the user of the service may read it"))
        };
        let bytes = regular_file(file).map_err(unreadable)?.len();
        if bytes > WEB_CONFIG_BYTES_MAX {
            return Err(whole(format!("has {bytes} bytes; at most {WEB_CONFIG_BYTES_MAX} are read")));
        }
        Self::parse(file, &fs::read_to_string(file).map_err(unreadable)?)
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(file: &Path, text: &str) -> Result<Self, WebConfigError> {
        let reader = Reader { file, folder: file.parent().unwrap_or(Path::new("")) };
        let mut config = Self::default();
        for entry in reader.document(text)? {
            match entry.key.as_str() {
                "tls_server_config" => config.tls = reader.tls(&entry)?,
                "basic_auth_users" => config.users = reader.users(&entry)?,
                key => {
                    let what = "is not a known key; remove it, and give tls_server_config or basic_auth_users";
                    return Err(reader.error(entry.line, key, what));
                }
            }
        }
        Ok(config)
    }

    /// The files that the configuration names.
    pub fn files(&self) -> Vec<&Path> {
        let Some(tls) = &self.tls else { return Vec::new() };
        let ca = tls.client_ca_file.as_deref();
        [tls.cert_file.as_path(), tls.key_file.as_path()].into_iter().chain(ca).collect()
    }
}

/// Metadata of a regular file. Reading a named pipe would wait for a writer, and a device may have no end.
///
/// # Errors
/// The path is of another kind, or there is nothing.
pub(super) fn regular_file(path: &Path) -> io::Result<fs::Metadata> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() { Ok(metadata) } else { Err(io::Error::other("it is not a regular file")) }
}

/// A key and its value.
#[derive(Debug)]
struct Entry {
    key: String,
    line: usize,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Section(Vec<Entry>),
}

struct Reader<'f> {
    file: &'f Path,
    folder: &'f Path,
}

impl Reader<'_> {
    fn error(&self, line: usize, key: &str, what: impl Into<String>) -> WebConfigError {
        WebConfigError { file: self.file.to_owned(), line, key: key.to_owned(), what: what.into() }
    }

    fn document(&self, text: &str) -> Result<Vec<Entry>, WebConfigError> {
        let mut events = Parser::new_from_str(text);
        let mut top = None;
        loop {
            match self.next(&mut events)? {
                (Event::StreamEnd, _) => return Ok(top.unwrap_or_default()),
                (Event::DocumentStart(_), span) if top.is_some() => {
                    return Err(self.error(span.start.line(), "", "is a second document; keep one, without \"---\""));
                }
                (Event::MappingStart(..), _) => top = Some(self.mapping(&mut events, 1)?),
                // An empty file is a file without settings.
                (Event::Scalar(text, ..), _) if text.is_empty() || text == "~" || text == "null" => {}
                (Event::Scalar(..) | Event::SequenceStart(..) | Event::Alias(_), span) => {
                    return Err(self.error(span.start.line(), "", "is not a mapping; write \"key: value\""));
                }
                _ => {}
            }
        }
    }

    fn next<'i>(
        &self,
        events: &mut Parser<'i, saphyr_parser::StrInput<'i>>,
    ) -> Result<(Event<'i>, Span), WebConfigError> {
        match events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let what = format!("is not YAML: {}; check indentation and quotes", error.info());
                Err(self.error(error.marker().line(), "", what))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn mapping<'i>(
        &self,
        events: &mut Parser<'i, saphyr_parser::StrInput<'i>>,
        depth: usize,
    ) -> Result<Vec<Entry>, WebConfigError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, line) = match self.next(events)? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(key, ..), span) => (key.into_owned(), span.start.line()),
                (_, span) => return Err(self.error(span.start.line(), "", "is not a key; write \"key: value\"")),
            };
            if let Some(known) = entries.iter().find(|known| known.key == key) {
                let what = format!("is already set on line {}; keep one of the two", known.line);
                return Err(self.error(line, &key, what));
            }
            let value = match self.next(events)? {
                (Event::Scalar(text, style, ..), _) => {
                    // An empty section is written as nothing at all.
                    let is_nothing = style == saphyr_parser::ScalarStyle::Plain && (text == "~" || text == "null");
                    Value::Text(if is_nothing { String::new() } else { text.into_owned() })
                }
                (Event::MappingStart(..), _) if depth < 2 => Value::Section(self.mapping(events, depth + 1)?),
                _ => {
                    return Err(self.error(
                        line,
                        &key,
                        "is neither a text nor a section of texts; write \"key: value\"",
                    ));
                }
            };
            entries.push(Entry { key, line, value });
        }
    }

    /// The entries of a section with their texts.
    fn section<'e>(&self, entry: &'e Entry) -> Result<Vec<(&'e Entry, &'e str)>, WebConfigError> {
        let entries = match &entry.value {
            Value::Section(entries) => entries,
            Value::Text(text) if text.is_empty() => return Ok(Vec::new()),
            Value::Text(_) => {
                return Err(self.error(entry.line, &entry.key, "is a section; write its keys indented below"));
            }
        };
        let text = |inner: &'e Entry| match &inner.value {
            Value::Text(text) => Ok((inner, text.as_str())),
            Value::Section(_) => {
                Err(self.error(inner.line, &inner.key, "is a text, not a section; write \"key: value\""))
            }
        };
        entries.iter().map(text).collect()
    }

    fn users(&self, entry: &Entry) -> Result<Vec<(String, String)>, WebConfigError> {
        let mut users = Vec::new();
        for (user, hash) in self.section(entry)? {
            let key = format!("basic_auth_users.{}", user.key);
            if user.key.is_empty() || user.key.contains(':') {
                let what = "is not a user name: it is empty or has a colon; give another";
                return Err(self.error(user.line, &key, what));
            }
            match bcrypt_cost(hash) {
                Some(4..=BCRYPT_COST_MAX) => users.push((user.key.clone(), hash.to_owned())),
                Some(cost) => {
                    let what = format!("has cost {cost}; give a hash of cost 4 to {BCRYPT_COST_MAX}, 10 is usual");
                    return Err(self.error(user.line, &key, what));
                }
                None => {
                    let what = "is not a bcrypt hash; give the output of \"htpasswd -nBC 10 '' | tr -d ':'\"";
                    return Err(self.error(user.line, &key, what));
                }
            }
        }
        Ok(users)
    }

    fn tls(&self, entry: &Entry) -> Result<Option<TlsConfig>, WebConfigError> {
        let section = self.section(entry)?;
        if section.is_empty() {
            return Ok(None);
        }
        let (mut cert, mut key_file, mut ca) = (None, None, None);
        let (mut client_auth, mut min_version) = ((ClientAuth::None, entry.line), TlsVersion::Tls12);
        for (inner, text) in section {
            let (line, key) = (inner.line, format!("{}.{}", entry.key, inner.key));
            let path = || match text {
                "" => Err(self.error(line, &key, "is empty; give the path of a PEM file")),
                text => Ok(Some(self.folder.join(text))),
            };
            match inner.key.as_str() {
                "cert_file" => cert = path()?,
                "key_file" => key_file = path()?,
                "client_ca_file" => ca = path()?,
                "client_auth_type" => client_auth = (self.client_auth(line, &key, text)?, line),
                "min_version" => min_version = self.version(line, &key, text)?,
                _ => {
                    let known = "cert_file, key_file, client_ca_file, client_auth_type and min_version";
                    return Err(self.error(line, &key, format!("is not a known key; remove it; known are {known}")));
                }
            }
        }
        let missing = |key: &str| self.error(entry.line, &entry.key, format!("has no {key}; give its path"));
        let (client_auth, line) = client_auth;
        match (client_auth, &ca) {
            (ClientAuth::None, Some(_)) => {
                let what = "has no effect without client_auth_type; give RequireAndVerifyClientCert or VerifyClientCertIfGiven";
                return Err(self.error(entry.line, "tls_server_config.client_ca_file", what));
            }
            (ClientAuth::IfGiven | ClientAuth::Required, None) => {
                let what = "needs authorities to verify certificates with; give client_ca_file";
                return Err(self.error(line, "tls_server_config.client_auth_type", what));
            }
            _ => {}
        }
        Ok(Some(TlsConfig {
            cert_file: cert.ok_or_else(|| missing("cert_file"))?,
            key_file: key_file.ok_or_else(|| missing("key_file"))?,
            client_ca_file: ca,
            client_auth,
            min_version,
            line: entry.line,
        }))
    }

    fn client_auth(&self, line: usize, key: &str, text: &str) -> Result<ClientAuth, WebConfigError> {
        match text {
            "" | "NoClientCert" => Ok(ClientAuth::None),
            "VerifyClientCertIfGiven" => Ok(ClientAuth::IfGiven),
            "RequireAndVerifyClientCert" => Ok(ClientAuth::Required),
            "RequestClientCert" | "RequireAnyClientCert" => {
                let what = format!("{text} verifies nothing and protects nothing; give RequireAndVerifyClientCert");
                Err(self.error(line, key, what))
            }
            _ => {
                let known = "NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert";
                Err(self.error(line, key, format!("\"{text}\" is not a known type; give {known}")))
            }
        }
    }

    fn version(&self, line: usize, key: &str, text: &str) -> Result<TlsVersion, WebConfigError> {
        match text {
            "TLS12" => Ok(TlsVersion::Tls12),
            "TLS13" => Ok(TlsVersion::Tls13),
            "TLS10" | "TLS11" => {
                let what = format!("{text} is no longer safe and not supported (RFC 8996); give TLS12 or TLS13");
                Err(self.error(line, key, what))
            }
            _ => Err(self.error(line, key, format!("\"{text}\" is not a TLS version; give TLS12 or TLS13"))),
        }
    }
}

/// The cost of a bcrypt hash: `$2y$10$` and 53 characters; `None` for anything else.
fn bcrypt_cost(hash: &str) -> Option<u32> {
    let (version, rest) = hash.strip_prefix('$')?.split_once('$')?;
    let (cost, rest) = rest.split_once('$')?;
    let is_known = ["2a", "2b", "2x", "2y"].contains(&version) && cost.len() == 2 && rest.len() == 53;
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/');
    if is_known && is_plain { cost.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn parse(text: &str) -> Result<WebConfig, String> {
        WebConfig::parse(Path::new("/etc/vigie/web.yml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = format!(
            "# ours\ntls_server_config:\n  cert_file: server.crt\n  key_file: /keys/server.key\n  \
             client_ca_file: 'ca.crt'\n  client_auth_type: \"RequireAndVerifyClientCert\"\n  min_version: TLS13\n\
             basic_auth_users:\n  prometheus: {HASH}\n  \"alice b\": {HASH}\n"
        );
        let config = parse(&text).unwrap();
        let tls = config.tls.clone().unwrap();
        assert_eq!(tls.cert_file, Path::new("/etc/vigie/server.crt"));
        assert_eq!(tls.key_file, Path::new("/keys/server.key"));
        assert_eq!(tls.client_ca_file.as_deref(), Some(Path::new("/etc/vigie/ca.crt")));
        assert_eq!((tls.client_auth, tls.min_version, tls.line), (ClientAuth::Required, TlsVersion::Tls13, 2));
        assert_eq!(config.users.len(), 2);
        assert_eq!(config.files().len(), 3);
        for empty in ["", "\n# nothing\n", "---\n", "tls_server_config:\nbasic_auth_users: {}\n"] {
            assert_eq!(parse(empty), Ok(WebConfig::default()), "{empty:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_key_and_mend() {
        let tls = "tls_server_config:\n  cert_file: a\n  key_file: b\n";
        for (text, says) in [
            (
                "tls_config:\n  a: b\n".to_owned(),
                ":1: tls_config: is not a known key; remove it, and give tls_server_config",
            ),
            (format!("{tls}  min_version: TLS11\n"), ":4: tls_server_config.min_version: TLS11 is no longer safe"),
            (
                format!("{tls}  min_version: 1.3\n"),
                ":4: tls_server_config.min_version: \"1.3\" is not a TLS version; give TLS12",
            ),
            (
                format!("{tls}  cipher_suites: x\n"),
                ":4: tls_server_config.cipher_suites: is not a known key; remove it;",
            ),
            (format!("{tls}  client_ca_file: x\n"), ":1: tls_server_config.client_ca_file: has no effect"),
            (
                format!("{tls}  client_auth_type: RequireAndVerifyClientCert\n"),
                ":4: tls_server_config.client_auth_type: needs",
            ),
            (
                format!("{tls}  client_auth_type: RequireAnyClientCert\n"),
                ":4: tls_server_config.client_auth_type: Requ",
            ),
            ("tls_server_config:\n  cert_file: a\n".to_owned(), ":1: tls_server_config: has no key_file; give"),
            ("tls_server_config:\n  key_file: a\n".to_owned(), ":1: tls_server_config: has no cert_file; give"),
            ("tls_server_config:\n  cert_file: ''\n".to_owned(), ":2: tls_server_config.cert_file: is empty; give"),
            ("tls_server_config: yes\n".to_owned(), ":1: tls_server_config: is a section; write"),
            ("tls_server_config:\n  cert_file:\n    a: b\n".to_owned(), ":2: cert_file: is neither"),
            ("a: b\na: c\n".to_owned(), ":2: a: is already set on line 1; keep"),
            ("basic_auth_users:\n  bob: secret\n".to_owned(), ":2: basic_auth_users.bob: is not a bcrypt hash; give"),
            (format!("basic_auth_users:\n  'b:c': {HASH}\n"), ":2: basic_auth_users.b:c: is not a user name"),
            (
                format!("basic_auth_users:\n  bob: {}\n", HASH.replace("$10$", "$31$")),
                ":2: basic_auth_users.bob: has cost 31;",
            ),
            ("- a\n- b\n".to_owned(), ":1: is not a mapping; write"),
            ("a: &x b\n---\nc: d\n".to_owned(), ": is a second document; keep one"),
            ("basic_auth_users: *x\n".to_owned(), ": is not YAML: "),
            ("a: 'b\n".to_owned(), ": is not YAML: "),
            ("a:\n\t- b\n".to_owned(), ": is not YAML: "),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with("/etc/vigie/web.yml:") && error.contains(says), "{text:?}: {error}");
            assert!(!error.contains('\n') && error.contains(';'), "{error:?}");
        }
    }

    #[test]
    fn a_file_that_is_missing_says_so() {
        let error = WebConfig::read(Path::new("/nowhere/web.yml")).unwrap_err().to_string();
        assert!(
            error.starts_with("/nowhere/web.yml: cannot be read: ") && error.contains("; check the path"),
            "{error}"
        );
    }
}
