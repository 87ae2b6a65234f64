//! A rule: what matches, whose it is, who contacts it, and who says so.

use crate::id;
use crate::words::{Class, Confidence, MatchKind, Role, Trait};

/// One line of knowledge.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Signature id: the service's base plus the rule's place; stable across releases.
    pub signature_id: u32,
    /// Service's key, such as `tiktok`.
    pub service: String,
    /// Service's name for people, such as `TikTok`.
    pub service_name: String,
    /// What the name serves.
    pub role: Role,
    /// Who contacts it.
    pub class: Class,
    /// Which part of a program contacts it, such as `tnc`; names of one family count once.
    pub family: String,
    /// What sets it apart from others of its class and family.
    pub traits: Vec<Trait>,
    /// Does it say anything without other names beside it? `alone = false` in the file.
    pub alone: bool,
    /// How sure the ownership is.
    pub confidence: Confidence,
    /// How it matches.
    pub kind: MatchKind,
    /// What matches: a name, a pattern, a prefix, a fingerprint.
    pub text: String,
    /// Autonomous system, for prefixes.
    pub asn: Option<u32>,
    /// Codes of the sources.
    pub sources: Vec<String>,
    /// Day of the last review, `YYYY-MM-DD`.
    pub reviewed: String,
    /// File it stands in.
    pub file: String,
    /// Line in that file, from 1.
    pub line: u32,
}

impl Rule {
    /// Has it this trait?
    pub fn has(&self, wanted: Trait) -> bool {
        self.traits.contains(&wanted)
    }

    /// How far its text is from the service's main name: less is nearer. The main name is the key and `.com`; other texts
    /// with the key follow, shorter ones first.
    pub fn distance_from_main_name(&self) -> impl Ord + use<> {
        let is_main = self.text.strip_suffix(".com") == Some(self.service.as_str());
        (!is_main, !self.text.contains(&self.service), self.text.len())
    }

    /// Did an operator or its author silence it? The id tells it too, so that events and exports do.
    pub const fn is_silent(&self) -> bool {
        id::is_silent(self.signature_id)
    }
}
