//! `[[scope]]`: which clients are official, guests, …, by prefix, VLAN and interface.

use std::collections::BTreeMap;

use toml::de::DeTable;
use vigie_config::Finding;
use vigie_judgement::policy::{IdentityRule, Prefix, Scope};

use super::fields::{Fields, Text, tables};

const KEYS: [&str; 8] = ["name", "kind", "prefixes", "vlans", "interfaces", "identity", "site", "ministry"];
/// Most scopes of a policy; single devices belong into the asset list.
const SCOPES_MAX: usize = 4096;
/// The highest VLAN id (IEEE 802.1Q, 12 bits; 0xfff is reserved).
const VLAN_MAX: u16 = 4094;

/// Reads all of them.
pub(super) fn read(document: &DeTable<'_>, text: &Text<'_>, findings: &mut Vec<Finding>) -> Vec<Scope> {
    let mut scopes = Vec::new();
    // Names and prefixes that stand already, with the scope that has them.
    let mut names = BTreeMap::new();
    let mut prefixes: BTreeMap<Prefix, String> = BTreeMap::new();
    for place in tables(document, "scope", text, findings) {
        let mut fields = Fields::new(text, "scope", place, findings);
        if scopes.len() == SCOPES_MAX {
            let what = format!("more than {SCOPES_MAX} scopes");
            fields.refuse("name", "", what, "list single devices and networks in the asset list (policy.assets)");
            break;
        }
        let Some(scope) = read_one(&mut fields) else { continue };
        if names.insert(scope.name.clone(), ()).is_some() {
            fields.refuse("name", &scope.name, "another scope has this name", "give each scope a name of its own");
        }
        if scope.vlans.is_empty() && scope.interfaces.is_empty() {
            for prefix in &scope.prefixes {
                if let Some(other) = prefixes.insert(*prefix, scope.name.clone()) {
                    let what = format!("the scope \"{other}\" has {prefix} already");
                    fields.refuse("prefixes", "", what, "keep one of the two");
                }
            }
        }
        scopes.push(scope);
    }
    scopes
}

fn read_one(fields: &mut Fields<'_, '_>) -> Option<Scope> {
    let faults = fields.faults();
    fields.only(&KEYS);
    fields.require(&[("name", "\"headquarters\""), ("kind", "\"official\"")]);
    let name = fields.text("name");
    let kind = fields.parsed("kind");
    let scope = Scope {
        name: name?,
        kind: kind?,
        identity: fields.parsed("identity").unwrap_or(IdentityRule::Address),
        prefixes: fields.parsed_list("prefixes"),
        vlans: fields.numbers("vlans", 1, VLAN_MAX),
        interfaces: fields.texts("interfaces"),
        site: fields.text("site"),
        ministry: fields.text("ministry"),
    };
    if !["prefixes", "vlans", "interfaces"].iter().any(|key| fields.has(key)) {
        let mend = "add prefixes, vlans or interfaces; policy.unlisted is for all other clients";
        fields.refuse("prefixes", "", "the scope names no clients", mend);
    }
    let is_empty = scope.prefixes.is_empty() && scope.vlans.is_empty() && scope.interfaces.is_empty();
    if is_empty && fields.faults() == faults {
        let mend = "fill in prefixes, vlans or interfaces, or remove the scope";
        fields.warn("name", "all lists are empty: the scope has no client", mend);
    }
    Some(scope)
}
