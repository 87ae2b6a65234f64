//! One line of a log: Suricata's EVE, Zeek's JSON, or plain JSON lines. Bytes go in; what the line says of a flow that
//! matches a signature comes out, or why the line cannot be used.
//!
//! Names that no signature has are dropped here, so that a big log costs little memory.

mod fields;

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use thiserror::Error;
use vigie_judgement::{Answered, Attribution, Client, Contact as Kind, Origin, Recogniser, Stack};
use vigie_signatures::{Name, Rule, normalise};

use self::fields::{Dns, Line, text};
use super::time::Time;

/// Why a line cannot be used.
#[derive(Debug, Error)]
pub enum BadLine {
    /// It is not the JSON that was expected.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Its format is not known.
    #[error("a line of neither Suricata's EVE, nor Zeek's JSON, nor with a client and a name")]
    UnknownFormat,
    /// It has no time.
    #[error("it has no time")]
    NoTime,
    /// It is not text of the log's own form.
    #[error("Zeek's tab-separated form is not read: set LogAscii::use_json = T")]
    TabSeparated,
    /// It is longer than a line may be.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
}

/// What a log calls a flow.
pub type FlowKey = u128;

/// What a line says.
#[derive(Debug)]
pub struct Record {
    /// When it was logged.
    pub logged_ns: u64,
    /// What it says.
    pub what: What,
}

/// What a line says.
#[derive(Debug)]
pub enum What {
    /// A contact with a service.
    Contact(Box<Contact>),
    /// The end of a flow, with all its bytes.
    FlowEnd(FlowEnd),
    /// Bytes of a flow while it goes on, or at its end.
    FlowBytes(FlowBytes),
    /// A name that no signature has, on a flow to an address that one has: so the flow is not without a name.
    Named(FlowKey),
}

/// A contact with a service.
#[derive(Clone, Debug)]
pub struct Contact {
    /// When.
    pub time_ns: u64,
    /// Who.
    pub client: Client,
    /// Where it came from.
    pub origin: Origin,
    /// The server's address, or that of the DNS server that was asked.
    pub server: Option<IpAddr>,
    /// The signature.
    pub rule: Arc<Rule>,
    /// The service that it counts for.
    pub attribution: Attribution,
    /// The name in normal form; empty for a server's address.
    pub name: Box<str>,
    /// What was seen.
    pub kind: Kind,
    /// The client's TLS stack.
    pub stack: Stack,
    /// Whether the server answered.
    pub answered: Answered,
    /// Bytes server → client.
    pub bytes_to_client: u64,
    /// Bytes client → server.
    pub bytes_to_server: u64,
    /// Whether the connection is not encrypted.
    pub is_cleartext: bool,
    /// The flow, where another line tells its bytes.
    pub flow: Option<FlowKey>,
}

/// Bytes of a flow until now.
#[derive(Clone, Copy, Debug)]
pub struct FlowBytes {
    /// The flow.
    pub flow: FlowKey,
    /// When.
    pub time_ns: u64,
    /// Bytes server → client.
    pub bytes_to_client: u64,
    /// Bytes client → server.
    pub bytes_to_server: u64,
    /// Whether the server has answered; `No` only at the end.
    pub answered: Answered,
    /// Whether the flow is over.
    pub is_end: bool,
}

/// The end of a flow.
#[derive(Debug)]
pub struct FlowEnd {
    /// The flow.
    pub flow: FlowKey,
    /// First packet.
    pub start_ns: u64,
    /// Last packet.
    pub end_ns: u64,
    /// Bytes server → client.
    pub bytes_to_client: u64,
    /// Bytes client → server.
    pub bytes_to_server: u64,
    /// Whether the server answered.
    pub answered: Answered,
    /// The contact that it is if nothing named it.
    pub nameless: Option<Box<Contact>>,
}

/// The flag RST (RFC 9293 §3.1).
const RST: u8 = 0x04;
/// Packets of a server that refuses: at most a SYN with ACK, an ACK, and a RST.
const REFUSAL_PACKETS_MAX: u64 = 3;

/// Reads a line. Lines that say nothing of a service give nothing.
///
/// # Errors
/// It is not a line of a known format.
pub fn read(bytes: &[u8], recogniser: &Recogniser) -> Result<Option<Record>, BadLine> {
    if bytes.first() == Some(&b'#') {
        return Err(BadLine::TabSeparated);
    }
    // Checked as a whole, text is checked faster than string by string. Fields that are not read may have other bytes.
    let line: Line<'_> = match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text)?,
        Err(_) => serde_json::from_slice(bytes)?,
    };
    let reader = Reader { recogniser };
    if line.event_type.is_some() {
        reader.suricata(&line)
    } else if line.orig_h.is_some() {
        reader.zeek(&line)
    } else if line.client.is_some() {
        reader.plain(&line)
    } else if line.ts.is_some() {
        // Zeek's logs that tell of no connection, such as files.log.
        Ok(None)
    } else {
        Err(BadLine::UnknownFormat)
    }
}

/// Where a name was seen, and by whom.
struct Seen<'l> {
    time_ns: u64,
    client: &'l str,
    server: Option<IpAddr>,
    name: Option<&'l str>,
    ja4: &'l str,
    kind: Kind,
    is_cleartext: bool,
    flow: Option<FlowKey>,
}

struct Reader<'r> {
    recogniser: &'r Recogniser,
}

impl Reader<'_> {
    fn suricata(&self, line: &Line<'_>) -> Result<Option<Record>, BadLine> {
        let Some(Time(logged_ns)) = line.timestamp else { return Err(BadLine::NoTime) };
        let Some(client) = text(&line.src_ip) else { return Ok(None) };
        let server = text(&line.dest_ip).and_then(|address| address.parse().ok());
        let flow = line.flow_id.map(FlowKey::from);
        let event_type = text(&line.event_type).unwrap_or_default();
        let is_cleartext = event_type == "http";
        let seen = |name, ja4, kind| Seen { time_ns: logged_ns, client, server, name, ja4, kind, is_cleartext, flow };
        let hello = if event_type == "quic" { line.quic.as_ref() } else { line.tls.as_ref() };
        Ok(match event_type {
            "tls" | "quic" => {
                let name = hello.and_then(|hello| text(&hello.sni));
                let ja4 = hello.and_then(|hello| text(&hello.ja4)).unwrap_or_default();
                self.seen(&seen(name, ja4, Kind::Flow), logged_ns)
            }
            "http" => {
                let host = line.http.as_ref().and_then(|http| text(&http.hostname)).map(without_port);
                self.seen(&seen(host, "", Kind::Flow), logged_ns)
            }
            "dns" => {
                let question = line.dns.as_ref().and_then(question);
                question.and_then(|name| self.seen(&seen(Some(name), "", Kind::DnsQuestion), logged_ns))
            }
            "flow" => self.suricata_flow(line, client, server, logged_ns),
            _ => None,
        })
    }

    fn suricata_flow(&self, line: &Line<'_>, client: &str, server: Option<IpAddr>, logged_ns: u64) -> Option<Record> {
        let (flow, key) = (line.flow.as_ref()?, FlowKey::from(line.flow_id?));
        let start_ns = flow.start.map_or(logged_ns, |Time(time_ns)| time_ns);
        let flags = line.tcp.as_ref().and_then(|tcp| text(&tcp.tcp_flags_tc));
        let is_reset = flags.is_some_and(|flags| u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & RST != 0));
        let answered = match flow.pkts_toclient {
            Some(0) => Answered::No,
            Some(..=REFUSAL_PACKETS_MAX) if is_reset => Answered::No,
            Some(_) => Answered::Yes,
            None => Answered::Unknown,
        };
        let end = FlowEnd {
            flow: key,
            start_ns,
            end_ns: flow.end.map_or(logged_ns, |Time(time_ns)| time_ns),
            bytes_to_client: flow.bytes_toclient.unwrap_or_default(),
            bytes_to_server: flow.bytes_toserver.unwrap_or_default(),
            answered,
            nameless: self.nameless(client, server, start_ns, key),
        };
        Some(Record { logged_ns, what: What::FlowEnd(end) })
    }

    fn zeek(&self, line: &Line<'_>) -> Result<Option<Record>, BadLine> {
        let Some(Time(time_ns)) = line.ts else { return Err(BadLine::NoTime) };
        let client = text(&line.orig_h).unwrap_or_default();
        let server = text(&line.resp_h).and_then(|address| address.parse().ok());
        let flow = text(&line.uid).map(key_of_uid);
        let ja4 = text(&line.ja4).unwrap_or_default();
        let path = text(&line.path).unwrap_or_default();
        let is_cleartext = line.method.is_some() || path == "http";
        let seen = |name, kind| Seen { time_ns, client, server, name, ja4, kind, is_cleartext, flow };
        if line.conn_state.is_some() || path == "conn" {
            return Ok(self.zeek_connection(line, client, server, time_ns));
        }
        if let Some(query) = text(&line.query) {
            return Ok(self.seen(&seen(Some(query), Kind::DnsQuestion), time_ns));
        }
        let is_hello = line.server_name.is_some()
            || line.cipher.is_some()
            || line.client_initial_dcid.is_some()
            || matches!(path, "ssl" | "quic");
        if is_hello {
            return Ok(self.seen(&seen(text(&line.server_name), Kind::Flow), time_ns));
        }
        if is_cleartext {
            return Ok(self.seen(&seen(text(&line.host).map(without_port), Kind::Flow), time_ns));
        }
        Ok(None)
    }

    fn zeek_connection(&self, line: &Line<'_>, client: &str, server: Option<IpAddr>, start_ns: u64) -> Option<Record> {
        let key = key_of_uid(text(&line.uid)?);
        let length = Time::from_seconds(line.duration.unwrap_or_default()).map_or(0, |Time(length_ns)| length_ns);
        let end_ns = start_ns.saturating_add(length);
        let bytes_to_client = amount(line.resp_bytes);
        let answered = match text(&line.conn_state).unwrap_or_default() {
            "S0" | "REJ" | "RSTRH" => Answered::No,
            "RSTR" if bytes_to_client == 0 => Answered::No,
            // Zeek saw no beginning, or one direction only.
            "OTH" | "SH" | "SHR" | "" => Answered::Unknown,
            _ if bytes_to_client > 0 => Answered::Yes,
            _ => Answered::Unknown,
        };
        let end = FlowEnd {
            flow: key,
            start_ns,
            end_ns,
            bytes_to_client,
            bytes_to_server: amount(line.orig_bytes),
            answered,
            nameless: self.nameless(client, server, start_ns, key),
        };
        Some(Record { logged_ns: end_ns, what: What::FlowEnd(end) })
    }

    fn plain(&self, line: &Line<'_>) -> Result<Option<Record>, BadLine> {
        let Some(Time(time_ns)) = line.time.or(line.seconds) else { return Err(BadLine::NoTime) };
        let (mut name, mut server) = (text(&line.name).filter(|name| !name.is_empty()), None);
        if let Some(given) = text(&line.server) {
            match given.parse() {
                Ok(address) => server = Some(address),
                Err(_) => name = name.or(Some(given)),
            }
        }
        if name.is_none() && server.is_none() {
            return Err(BadLine::UnknownFormat);
        }
        let client = text(&line.client).unwrap_or_default();
        let ja4 = text(&line.ja4).unwrap_or_default();
        let seen = Seen { time_ns, client, server, name, ja4, kind: Kind::Flow, is_cleartext: false, flow: None };
        let Some(mut contact) = self.contact(&seen) else { return Ok(None) };
        contact.bytes_to_client = amount(line.bytes_toclient);
        contact.bytes_to_server = amount(line.bytes_toserver);
        contact.answered = match line.answered {
            Some(true) => Answered::Yes,
            Some(false) => Answered::No,
            None => contact.answered,
        };
        Ok(Some(Record { logged_ns: time_ns, what: What::Contact(Box::new(contact)) }))
    }

    fn seen(&self, seen: &Seen<'_>, logged_ns: u64) -> Option<Record> {
        if let Some(contact) = self.contact(seen) {
            return Some(Record { logged_ns, what: What::Contact(Box::new(contact)) });
        }
        let is_of_known_server = seen.name.is_some() && self.recogniser.flow(None, seen.server).is_some();
        let flow = seen.flow.filter(|_| is_of_known_server && seen.kind == Kind::Flow)?;
        Some(Record { logged_ns, what: What::Named(flow) })
    }

    fn nameless(&self, client: &str, server: Option<IpAddr>, time_ns: u64, flow: FlowKey) -> Option<Box<Contact>> {
        let seen = Seen {
            time_ns,
            client,
            server,
            name: None,
            ja4: "",
            kind: Kind::Flow,
            is_cleartext: false,
            flow: Some(flow),
        };
        self.contact(&seen).map(Box::new)
    }

    /// The contact with a service that this is.
    fn contact(&self, seen: &Seen<'_>) -> Option<Contact> {
        let mut buffer = [0; 256];
        let (name, server) = match seen.name.map(|name| normalise(name.as_bytes(), &mut buffer)) {
            Some(Name::Host(host)) => (Some(host.as_str()), seen.server),
            Some(Name::IpLiteral(address)) => (None, Some(address)),
            Some(Name::NotAHostName) => return None,
            None => (None, seen.server),
        };
        let rule = match (seen.kind, name) {
            (Kind::DnsQuestion, name) => self.recogniser.question(name?)?,
            (_, name) => self.recogniser.flow(name, server)?,
        };
        let attribution = self.recogniser.attribute(rule)?;
        let is_sinkhole = server.is_some_and(|server| server.is_unspecified() || server.is_loopback());
        let client = client(seen.client);
        let origin = match &client {
            Client::Address(address) => Origin::address(*address),
            _ => Origin::unknown(),
        };
        Some(Contact {
            time_ns: seen.time_ns,
            client,
            origin,
            server,
            rule: Arc::clone(rule),
            attribution: attribution.clone(),
            name: name.unwrap_or_default().into(),
            kind: seen.kind,
            stack: self.recogniser.stack(seen.ja4, &attribution.service, seen.time_ns),
            answered: if is_sinkhole { Answered::No } else { Answered::Unknown },
            bytes_to_client: 0,
            bytes_to_server: 0,
            is_cleartext: seen.is_cleartext,
            flow: seen.flow,
        })
    }
}

/// A client by its address; what is no address is another tool's name for it.
fn client(text: &str) -> Client {
    text.parse().map_or_else(|_| Client::Name(Arc::from(text)), Client::Address)
}

/// The name that a client asked of DNS.
fn question<'l>(dns: &'l Dns<'_>) -> Option<&'l str> {
    let is_question = text(&dns.kind).is_none_or(|kind| matches!(kind, "query" | "request"));
    let first = dns.queries.first().map_or(&dns.rrname, |question| &question.rrname);
    text(first).filter(|_| is_question)
}

/// A host without the port that may stand behind it.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A number of bytes, which some tools write with a fraction.
fn amount(number: Option<f64>) -> u64 {
    number.map_or(0, |number| number as u64)
}

/// Zeek's name of a connection, as a number.
fn key_of_uid(uid: &str) -> FlowKey {
    let half = |seed| FlowKey::from(FixedState::with_seed(seed).hash_one(uid));
    half(1) << 64 | half(2)
}

#[cfg(test)]
mod tests;
