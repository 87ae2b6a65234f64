//! Words of events as people read them.

use vigie_signatures::Ban;

use super::{Language, Words};

/// A verdict.
pub fn verdict_word(language: Language, verdict: &str) -> String {
    let words = match verdict {
        "app" => ("application", "application"),
        "web" => ("site visit", "visite du site"),
        "embed" => ("embedded", "contenu intégré"),
        "undetermined" => ("undetermined", "indéterminé"),
        other => (other, other),
    };
    language.pick(words.0, words.1).to_owned()
}

/// How a verdict came about, as a sentence.
pub fn kind_sentence(language: Language, kind: &str) -> String {
    let words = match kind {
        "in-use" => ("The application was used.", "L’application a été utilisée."),
        "desktop" => ("The desktop program ran.", "Le programme de bureau a tourné."),
        "background" => (
            "The application is installed; that somebody used it is not shown.",
            "L’application est installée ; rien ne montre que quelqu’un l’a utilisée.",
        ),
        "site" => ("Somebody visited the site.", "Quelqu’un a visité le site."),
        "console" => (
            "Somebody used the console of advertisers, sellers or creators.",
            "Quelqu’un a utilisé la console des annonceurs, vendeurs ou créateurs.",
        ),
        "shared-link" => ("A shared link was opened.", "Un lien partagé a été ouvert."),
        "sign-in" => ("A sign-in box of the service was loaded.", "Une fenêtre de connexion du service a été chargée."),
        "portal" => {
            ("Help, news or documentation were read.", "De l’aide, des actualités ou de la documentation ont été lues.")
        }
        other => (other, other),
    };
    language.pick(words.0, words.1).to_owned()
}

/// The title of a ban: its own, or the English one for who reads another language.
pub fn ban_title(language: Language, ban: &Ban) -> String {
    let is_own = language == Language::Fr && ban.language == "fr";
    if is_own || ban.title_en.is_empty() { ban.title.clone() } else { ban.title_en.clone() }
}

/// The state of an incident, or a step of it.
pub fn state_word(language: Language, state: &str) -> String {
    let words = match state {
        "opened" => ("opened", "ouvert"),
        "risen" => ("risen", "aggravé"),
        "continues" => ("continues", "se poursuit"),
        "closed" => ("closed", "clos"),
        other => (other, other),
    };
    language.pick(words.0, words.1).to_owned()
}

/// Why an incident was closed.
pub fn closed_because(language: Language, word: &str) -> String {
    let words = match word {
        "day-over" => ("the day was over", "fin de la journée"),
        "excused" => ("a derogation began", "début d’une dérogation"),
        "evicted" => ("too many were open", "trop d’incidents en cours"),
        "input-ended" => ("the capture ended", "fin de la capture"),
        "key-rotated" => ("the key of pseudonyms changed", "changement de la clé des pseudonymes"),
        other => (other, other),
    };
    language.pick(words.0, words.1).to_owned()
}

/// Where a name was seen.
pub fn evidence_word(language: Language, word: &str) -> String {
    let words = match word {
        "tls-sni" => ("TLS hello", "hello TLS"),
        "quic-sni" => ("QUIC hello", "hello QUIC"),
        "dtls-sni" => ("DTLS hello", "hello DTLS"),
        "http-host" => ("HTTP request", "requête HTTP"),
        "http-connect" => ("proxy request", "requête à un mandataire"),
        "socks" => ("SOCKS request", "requête SOCKS"),
        "tls-cert" => ("server’s certificate", "certificat du serveur"),
        "dns" => ("DNS answer", "réponse DNS"),
        "prefix" => ("server’s address", "adresse du serveur"),
        other => (other, other),
    };
    language.pick(words.0, words.1).to_owned()
}

/// A region as events name it.
pub fn region_word(words: &Words, region: &str) -> String {
    let name = match region {
        "" => words.no_region,
        _ if words.language == Language::En => region,
        "Norway" => "Norvège",
        "Ireland" => "Irlande",
        "Frankfurt" => "Francfort",
        "US-EastRed, the European enclave" => "US-EastRed, l’enclave européenne",
        "United States, TTP" => "États-Unis, TTP",
        "United States, east" => "États-Unis, est",
        "Virginia" => "Virginie",
        "Singapore" => "Singapour",
        "Malaysia" => "Malaisie",
        "Russia" => "Russie",
        other => other,
    };
    name.to_owned()
}

/// What people decided.
pub fn decided_word(words: &Words, decided: &str) -> String {
    match decided {
        "confirmed" => words.confirmed.to_owned(),
        "false" => words.false_alarm.to_owned(),
        "excused" => words.excused.to_owned(),
        other => other.to_owned(),
    }
}

/// The kind of an audit line, and names of facts in it.
pub fn fact_name(language: Language, key: &str) -> String {
    let words = match key {
        "policy-changed" => ("policy changed", "politique modifiée"),
        "reveal" => ("pseudonym revealed", "pseudonyme révélé"),
        "key-rotated" => ("key changed", "clé changée"),
        "derogation-added" => ("derogation added", "dérogation ajoutée"),
        "derogation-ended" => ("derogation ended", "dérogation close"),
        "disposition" => ("decision", "décision"),
        "acknowledged" => ("taken up", "pris en charge"),
        "note" => ("note", "note"),
        "incident-viewed" => ("incident viewed", "incident consulté"),
        "signed-in" => ("signed in", "connexion"),
        "sign-in-refused" => ("sign-in refused", "connexion refusée"),
        "policy_before" => ("policy before", "politique précédente"),
        "policy" => ("policy", "politique"),
        "pseudonym" => ("pseudonym", "pseudonyme"),
        "pseudonym_period" => ("period", "période"),
        "case" => ("case", "dossier"),
        "reason" => ("reason", "motif"),
        "second_person" => ("second person", "seconde personne"),
        "services" => ("services", "services"),
        "from" => ("from", "du"),
        "until" => ("until", "au"),
        "approver" => ("approved by", "approuvée par"),
        "reference" => ("reference", "référence"),
        "derogation" => ("derogation", "dérogation"),
        other => (other, other),
    };
    language.pick(words.0, words.1).to_owned()
}
