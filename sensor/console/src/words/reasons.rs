//! Reasons of a verdict in French. Events tell them in English; what is not known here stays as it is.

use super::Language;

/// What stands before the list, in English and French.
const WITH_LIST: &[(&str, &str)] = &[
    ("native interface families: ", "familles d’interfaces propres à l’application : "),
    ("names that the app contacts most of all: ", "noms que surtout l’application contacte : "),
    (
        "the service's own interface, with the TLS stack of its apps: ",
        "interface du service, avec la pile TLS de ses applications : ",
    ),
    (
        "names of the desktop program, with a browser's TLS stack: ",
        "noms du programme de bureau, avec la pile TLS d’un navigateur : ",
    ),
    ("names of a first start: ", "noms d’un premier lancement : "),
    ("only one native interface family, once: ", "une seule famille d’interfaces de l’application, une seule fois : "),
    ("interface families of a use in the foreground: ", "familles d’interfaces d’un usage au premier plan : "),
    ("names that only the site uses: ", "noms que seul le site utilise : "),
    (
        "only a sign-in name of the site, which other sites load too: ",
        "seulement un nom de connexion du site, que d’autres sites chargent aussi : ",
    ),
    ("the console of advertisers, sellers or creators: ", "console des annonceurs, des vendeurs ou des créateurs : "),
    ("help, news or documentation: ", "aide, actualités ou documentation : "),
    ("a short link: ", "lien court : "),
    (
        "names that the site and an embedded player contact alike: ",
        "noms que le site et un lecteur intégré contactent de la même façon : ",
    ),
    ("a pixel in pages of others: ", "pixel dans des pages d’autrui : "),
    ("a software kit in apps of others: ", "kit logiciel dans des applications d’autrui : "),
    ("infrastructure that several services share: ", "infrastructure partagée par plusieurs services : "),
];

/// Whole sentences, in English and French.
const WHOLE: &[(&str, &str)] = &[
    (
        "the owner's name resolver for its apps was contacted too",
        "le résolveur de noms que le propriétaire donne à ses applications a été contacté aussi",
    ),
    (
        "a current browser contacted all native names: a page can load pictures from any host",
        "un navigateur actuel a contacté tous les noms de l’application : une page peut charger des images de n’importe \
         quel hôte",
    ),
    (
        "these names or more: over one connection, a browser can reach other names of the site (HTTP/2)",
        "ces noms ou davantage : par une seule connexion, un navigateur peut atteindre d’autres noms du site (HTTP/2)",
    ),
    (
        "probable first start; the download itself is not visible",
        "premier lancement probable ; le téléchargement lui-même n’est pas visible",
    ),
    (
        "no contact was answered: it was tried, and nothing was exchanged",
        "aucun contact n’a reçu de réponse : il y a eu tentative, et rien n’a été échangé",
    ),
];

/// A reason in a language.
pub fn reason(language: Language, english: &str) -> String {
    if language == Language::En {
        return english.to_owned();
    }
    if let Some((_, french)) = WHOLE.iter().find(|(known, _)| *known == english) {
        return (*french).to_owned();
    }
    let with_list = WITH_LIST.iter().find_map(|(known, french)| Some((french, english.strip_prefix(known)?)));
    if let Some((french, list)) = with_list {
        return format!("{french}{list}");
    }
    if let Some(bytes) = english.strip_suffix(" of media") {
        return format!("{} de médias", units(bytes));
    }
    let again = english.strip_prefix("the same interface family, ").and_then(|rest| {
        let (family, apart) = rest.strip_suffix(" before")?.split_once(", was contacted ")?;
        Some(format!("la même famille d’interfaces, {family}, avait été contactée {apart} plus tôt"))
    });
    let playback = || {
        let (bytes, over) = english.strip_suffix(": the site or a player on an open page")?.split_once(" over ")?;
        Some(format!("{} en {over} : le site, ou un lecteur sur une page ouverte", units(bytes)))
    };
    again.or_else(playback).unwrap_or_else(|| english.to_owned())
}

fn units(bytes: &str) -> String {
    bytes.replace(" bytes", " octets").replace(" kB", " ko").replace(" MB", " Mo")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are those of the sensor's source, so that a change there is noticed.
    #[test]
    fn every_reason_of_the_sensor_is_known_in_french() {
        let source = include_str!("../../../judgement/src/reason.rs");
        let display = source.split("impl fmt::Display for Reason").nth(1).unwrap();
        let display = display.split("/// Bytes for people").next().unwrap();
        let mut count = 0;
        for text in display.split('"').skip(1).step_by(2) {
            let example = text.replace("{}: the site", "8 min: the site").replace("{} over", "41 MB over");
            let example = example.replace("{} of media", "12 MB of media").replacen("family, {}", "family, api", 1);
            let example = example.replace("{family}", "api").replace("contacted {} before", "contacted 2 h before");
            let english = example.replace("{}", "tnc, api");
            assert_ne!(reason(Language::Fr, &english), english, "not known in French");
            count += 1;
        }
        assert_eq!(count, 24, "reasons of the sensor");
        assert_eq!(reason(Language::En, "12 MB of media"), "12 MB of media");
        assert_eq!(reason(Language::Fr, "12 MB of media"), "12 Mo de médias");
        assert_eq!(reason(Language::Fr, "a new one"), "a new one");
    }
}
