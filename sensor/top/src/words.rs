//! What the screen says, in English and French. Each message stands in one table with both languages.

/// A language of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    En,
    Fr,
}

impl Language {
    /// The language of a locale such as `fr_BE.UTF-8`; English if the screen has not that of the locale.
    pub fn of_locale(locale: &str) -> Self {
        if locale.to_ascii_lowercase().starts_with("fr") { Self::Fr } else { Self::En }
    }

    /// The messages.
    pub const fn words(self) -> &'static Words {
        match self {
            Self::En => &EN,
            Self::Fr => &FR,
        }
    }
}

macro_rules! words {
    ($($name:ident: $english:literal, $french:literal;)+) => {
        /// The messages of a language.
        #[derive(Debug)]
        pub struct Words { $(pub $name: &'static str,)+ }
        static EN: Words = Words { $($name: $english,)+ };
        static FR: Words = Words { $($name: $french,)+ };
    };
}

words! {
    decimal: ".", ",";
    ready: "ready", "prêt";
    not_ready: "NOT READY", "NON PRÊT";
    no_metrics: "NO METRICS", "AUCUNE MESURE";
    asking: "asking …", "interrogation …";
    running_for: "running for", "en marche depuis";
    interface: "Interface", "Interface";
    packets: "packets/s", "paquets/s";
    bits: "bit/s", "bit/s";
    drops: "lost/s", "perdus/s";
    dropped: "lost", "perdus";
    share: "share", "part";
    link: "link", "lien";
    up: "up", "actif";
    down: "DOWN", "COUPÉ";
    silent: "silent", "muet";
    more_interfaces: "further interfaces", "autres interfaces";
    busy: "Busiest worker", "Fil le plus chargé";
    flows: "flows", "flux";
    hellos: "hellos/s", "hellos/s";
    lost_events: "events lost", "événements perdus";
    last_hour: "Last hour", "Dernière heure";
    seen: "seen", "vu";
    lossy: "with losses", "avec pertes";
    blind: "blind", "aveugle";
    untold: "not told", "non signalé";
    no_coverage: "No coverage is told yet: this does not prove that nothing happened.",
        "Aucune couverture signalée : rien ne prouve l’absence d’usage.";
    losses: "losses", "pertes";
    incidents: "Incidents", "Incidents";
    open: "open", "en cours";
    time: "Opened", "Ouvert";
    state: "State", "État";
    device: "Device", "Appareil";
    service: "Service", "Service";
    verdict: "Verdict", "Verdict";
    ban: "Ban", "Interdit";
    no_incidents: "None in the events that were read.", "Aucun dans les événements lus.";
    reading: "Reading events …", "Lecture des événements …";
    events_unread: "EVENTS CANNOT BE READ", "ÉVÉNEMENTS ILLISIBLES";
    quit: "quit", "quitter";
    scroll: "scroll", "défiler";
    of: "of", "sur";
    too_small: "The window is too small.", "La fenêtre est trop petite.";
    opened_word: "opened", "ouvert";
    risen: "risen", "aggravé";
    continues: "continues", "continue";
    closed: "closed", "clos";
    app: "application", "application";
    web: "site visit", "visite du site";
    embed: "embedded", "intégré";
    undetermined: "undetermined", "indéterminé";
    wants_sign_in: "it wants TLS or a password, which vigie-top has not", "il exige TLS ou un mot de passe, que vigie-top n’a pas";
}

impl Words {
    /// The word of an incident's state.
    pub fn state_word<'w>(&self, state: &'w str) -> &'w str
    where
        Self: 'static,
    {
        match state {
            "opened" => self.opened_word,
            "risen" => self.risen,
            "continues" => self.continues,
            "closed" => self.closed,
            other => other,
        }
    }

    /// The word of a verdict.
    pub fn verdict_word<'w>(&self, verdict: &'w str) -> &'w str
    where
        Self: 'static,
    {
        match verdict {
            "app" => self.app,
            "web" => self.web,
            "embed" => self.embed,
            "undetermined" => self.undetermined,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_gives_the_language() {
        for (locale, language) in [
            ("fr_FR.UTF-8", Language::Fr),
            ("FR", Language::Fr),
            ("C", Language::En),
            ("", Language::En),
            ("de_DE", Language::En),
        ] {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        }
    }
}
