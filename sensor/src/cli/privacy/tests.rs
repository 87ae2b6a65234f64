use super::*;
use crate::settings::{KeyPeriod, Naming, Settings};
use vigie_config::Day;
use vigie_judgement::policy::{AssetsBuilder, IdentityRule, Policy, PolicyParts, Scope, ScopeKind};

const LANGUAGES: [Language; 3] = [Language::French, Language::English, Language::Dutch];

fn texts(settings: &Settings, policy: &Policy) -> [String; 3] {
    LANGUAGES.map(|language| text(language, &Facts::of(settings, policy)))
}

fn scope(name: &str, kind: ScopeKind, vlan: u16, identity: IdentityRule) -> Scope {
    Scope {
        name: name.to_owned(),
        kind,
        identity,
        prefixes: Vec::new(),
        vlans: vec![vlan],
        interfaces: Vec::new(),
        site: None,
        ministry: None,
    }
}

#[test]
fn an_empty_configuration_says_what_is_to_be_completed() {
    let mut settings = Settings::default();
    settings.sensor.name = "tap-1".to_owned();
    for text in texts(&settings, &Policy::builtin()) {
        for key in ["controller", "contact", "dpia_reference", "notice_date", "staff_consultation_date", "site"] {
            assert!(text.contains(&format!("privacy.{key}]")), "{key} in {text}");
        }
        for fact in ["tap-1", "/var/log/vigie/eve.json", "/var/lib/vigie/audit.jsonl", "fr: ", "bytedance", "30"] {
            assert!(text.contains(fact), "{fact} in {text}");
        }
        assert!(text.contains("(français)") || text.contains("(English)") || text.contains("(Nederlands)"));
    }
}

#[test]
fn the_texts_tell_this_configuration() {
    let mut settings = Settings::default();
    let privacy = &mut settings.privacy;
    privacy.controller = Some("Ministry of Tests".to_owned());
    privacy.contact = Some("dpo@ministry.example".to_owned());
    privacy.dpia_reference = Some("DPIA-7".to_owned());
    privacy.notice_date = Some(Day(time::macros::date!(2026 - 03 - 01)));
    privacy.staff_consultation_date = Some(Day(time::macros::date!(2026 - 02 - 01)));
    privacy.site = Some("site-9".to_owned());
    privacy.pseudonyms = true;
    privacy.period = KeyPeriod::Week;
    privacy.mode = Naming::WarnFirst;
    privacy.reveal_needs_second = true;
    privacy.debug_until = Some(Day(time::macros::date!(2026 - 12 - 05)));
    settings.events.types = vec![crate::settings::Record::Tls, crate::settings::Record::Stats];
    let parts = PolicyParts {
        bans: Policy::builtin().bans().to_vec(),
        scopes: vec![
            scope("offices", ScopeKind::Official, 30, IdentityRule::Mac),
            scope("visitors", ScopeKind::Guest, 90, IdentityRule::Address),
        ],
        ..PolicyParts::default()
    };
    let policy = Policy::new(parts).unwrap();
    let texts = texts(&settings, &policy);
    for text in &texts {
        for fact in [
            "Ministry of Tests",
            "dpo@ministry.example",
            "DPIA-7",
            "2026-03-01",
            "2026-02-01",
            "site-9",
            "offices",
            "visitors",
            "2026-12-05",
            ": tls\n",
            "root",
        ] {
            assert!(text.contains(fact), "{fact} in {text}");
        }
        assert!(!text.contains("privacy."), "nothing of the configuration is missing: {text}");
    }
    let [french, english, dutch] = texts;
    for (text, words) in [
        (french, ["pseudonyme", "semaine", "seconde personne", "adresses matérielles", "invités", "premier constat"]),
        (english, ["pseudonyms", "each week", "second person", "hardware addresses", "guests", "The first finding"]),
        (dutch, ["pseudoniem", "elke week", "tweede persoon", "hardwareadressen", "gasten", "eerste bevinding"]),
    ] {
        for word in words {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
}

#[test]
fn the_notice_names_the_devices_of_the_asset_list() {
    let of = |key: &str, kind| {
        let mut list = AssetsBuilder::default();
        list.add(key.parse().unwrap(), "phone", "", "", kind).unwrap();
        let policy = Policy::new(PolicyParts { assets: list.build().unwrap(), ..PolicyParts::default() }).unwrap();
        texts(&Settings::default(), &policy)
    };
    let listed = ["appareils de l'inventaire qu'", "devices of the asset list", "toestellen van de inventaris waar"];
    let hardware = ["adresses matérielles", "hardware addresses", "hardwareadressen"];
    let phone = "02:00:5e:10:00:01";
    for (key, kind, is_listed, has_mac) in [
        (phone, Some(ScopeKind::Official), true, true),
        ("10.0.0.1", None, true, false),
        (phone, Some(ScopeKind::Guest), false, true),
    ] {
        for ((text, listed), hardware) in of(key, kind).iter().zip(listed).zip(hardware) {
            assert_eq!(
                (text.contains(listed), text.contains(hardware)),
                (is_listed, has_mac),
                "{key} {kind:?}: {text}"
            );
        }
    }
}
