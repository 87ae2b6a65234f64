//! The fields of a log's line that are used, by their names in each format.

use std::borrow::Cow;

use serde::Deserialize;

use crate::judge::time::Time;

/// A string that is borrowed where nothing in it is escaped.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

pub(super) type Field<'a> = Option<Text<'a>>;

/// The text of a field.
pub(super) fn text<'t>(field: &'t Field<'_>) -> Option<&'t str> {
    field.as_ref().map(|text| &*text.0)
}

/// All fields that are used, of all formats.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    // Suricata.
    #[serde(borrow)]
    pub(super) event_type: Field<'a>,
    pub(super) timestamp: Option<Time>,
    pub(super) flow_id: Option<u64>,
    #[serde(borrow)]
    pub(super) src_ip: Field<'a>,
    #[serde(borrow)]
    pub(super) dest_ip: Field<'a>,
    #[serde(borrow)]
    pub(super) tls: Option<Hello<'a>>,
    #[serde(borrow)]
    pub(super) quic: Option<Hello<'a>>,
    #[serde(borrow)]
    pub(super) http: Option<Http<'a>>,
    #[serde(borrow)]
    pub(super) dns: Option<Dns<'a>>,
    pub(super) flow: Option<Flow>,
    #[serde(borrow)]
    pub(super) tcp: Option<Tcp<'a>>,
    // Zeek.
    pub(super) ts: Option<Time>,
    #[serde(borrow)]
    pub(super) uid: Field<'a>,
    #[serde(borrow, rename = "id.orig_h")]
    pub(super) orig_h: Field<'a>,
    #[serde(borrow, rename = "id.resp_h")]
    pub(super) resp_h: Field<'a>,
    #[serde(borrow, rename = "_path")]
    pub(super) path: Field<'a>,
    #[serde(borrow)]
    pub(super) server_name: Field<'a>,
    #[serde(borrow)]
    pub(super) host: Field<'a>,
    #[serde(borrow)]
    pub(super) query: Field<'a>,
    #[serde(borrow)]
    pub(super) conn_state: Field<'a>,
    #[serde(borrow)]
    pub(super) cipher: Field<'a>,
    #[serde(borrow)]
    pub(super) method: Field<'a>,
    #[serde(borrow)]
    pub(super) client_initial_dcid: Field<'a>,
    pub(super) duration: Option<f64>,
    pub(super) orig_bytes: Option<f64>,
    pub(super) resp_bytes: Option<f64>,
    // Plain.
    pub(super) time: Option<Time>,
    pub(super) seconds: Option<Time>,
    #[serde(borrow)]
    pub(super) client: Field<'a>,
    #[serde(borrow)]
    pub(super) name: Field<'a>,
    #[serde(borrow)]
    pub(super) server: Field<'a>,
    #[serde(borrow)]
    pub(super) ja4: Field<'a>,
    pub(super) bytes_toclient: Option<f64>,
    pub(super) bytes_toserver: Option<f64>,
    pub(super) answered: Option<bool>,
}

/// A hello, as Suricata logs it.
#[derive(Deserialize)]
pub(super) struct Hello<'a> {
    #[serde(borrow)]
    pub(super) sni: Field<'a>,
    #[serde(borrow)]
    pub(super) ja4: Field<'a>,
}

#[derive(Deserialize)]
pub(super) struct Http<'a> {
    #[serde(borrow)]
    pub(super) hostname: Field<'a>,
}

#[derive(Deserialize)]
pub(super) struct Dns<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Field<'a>,
    #[serde(borrow)]
    pub(super) rrname: Field<'a>,
    /// Since version 3 of Suricata's format.
    #[serde(borrow, default)]
    pub(super) queries: Vec<Question<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Question<'a> {
    #[serde(borrow)]
    pub(super) rrname: Field<'a>,
}

#[derive(Deserialize)]
pub(super) struct Flow {
    pub(super) start: Option<Time>,
    pub(super) end: Option<Time>,
    pub(super) bytes_toclient: Option<u64>,
    pub(super) bytes_toserver: Option<u64>,
    pub(super) pkts_toclient: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Tcp<'a> {
    #[serde(borrow)]
    pub(super) tcp_flags_tc: Field<'a>,
}
