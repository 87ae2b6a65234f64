//! What pages say, in English and French. Each message stands in one table with both languages, so that none can lack.

mod facts;
mod reasons;

pub use self::facts::{
    ban_title, closed_because, decided_word, evidence_word, fact_name, kind_sentence, region_word, state_word,
    verdict_word,
};
pub use self::reasons::reason;

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    En,
    Fr,
}

impl Language {
    /// The language of a code such as `fr` or `fr-BE`.
    pub fn of(code: &str) -> Option<Self> {
        match code.get(..2)?.to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "fr" => Some(Self::Fr),
            _ => None,
        }
    }

    /// The first language of `Accept-Language` (RFC 9110 §12.5.4) that pages have. Browsers list them by preference.
    pub fn accepted(header: &str) -> Self {
        header.split(',').find_map(|part| Self::of(part.trim())).unwrap_or(Self::En)
    }

    /// The messages.
    pub const fn words(self) -> &'static Words {
        match self {
            Self::En => &EN,
            Self::Fr => &FR,
        }
    }

    /// One of two texts.
    pub const fn pick<'t>(self, english: &'t str, french: &'t str) -> &'t str {
        match self {
            Self::En => english,
            Self::Fr => french,
        }
    }
}

macro_rules! words {
    ($($name:ident: $english:literal, $french:literal;)+) => {
        /// The messages of a language.
        #[derive(Debug)]
        pub struct Words { pub language: Language, $(pub $name: &'static str,)+ }
        static EN: Words = Words { language: Language::En, $($name: $english,)+ };
        static FR: Words = Words { language: Language::Fr, $($name: $french,)+ };
        #[cfg(test)]
        const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $english, $french),)+];
    };
}

words! {
    lang: "en", "fr";
    other_lang: "fr", "en";
    other_lang_name: "Français", "English";
    skip_to_content: "Skip to the content", "Aller au contenu";
    navigation: "Pages", "Pages";
    search: "Search", "Rechercher";
    search_hint: "id, device, service", "id, appareil, service";
    incidents: "Incidents", "Incidents";
    incident: "Incident", "Incident";
    coverage: "Coverage", "Couverture";
    bans: "Bans", "Interdictions";
    ban: "Ban", "Interdiction";
    services: "Services", "Services";
    service: "Service", "Service";
    derogations: "Derogations", "Dérogations";
    derogation: "Derogation", "Dérogation";
    derogations_hint: "The register of those who may use a banned service, what ends soonest first. 'vigie derogation' edits it.", "Registre de ceux qui peuvent utiliser un service interdit, les échéances les plus proches d’abord. « vigie derogation » le modifie.";
    no_derogation: "No derogation.", "Aucune dérogation.";
    register_not_set: "The register itself is not read here (sensor.derogations is not set). This is what the audit in the journal tells.", "Le registre lui-même n’est pas lu ici (sensor.derogations n’est pas défini). Voici ce qu’en dit l’audit du journal.";
    register_unreadable: "The register cannot be read, so this is only what the audit in the journal tells. Ask who runs the console:", "Le registre est illisible ; voici seulement ce qu’en dit l’audit du journal. Prévenez l’exploitant de la console :";
    from_until: "First and last day", "Premier et dernier jour";
    reason: "Reason", "Motif";
    approved_by: "Approved by", "Approuvée par";
    incidents_excused: "Incidents excused", "Incidents excusés";
    uses: "What is known of their use", "Ce que l’on sait de leur usage";
    uses_text: "What a derogation excuses is not recorded: no event and no count tells who used what. “Incidents excused” counts incidents of these services and days that the beginning of a derogation closed, or that a person decided to be excused.", "Ce qu’une dérogation excuse n’est pas enregistré : aucun événement ni aucun compte ne dit qui a utilisé quoi. « Incidents excusés » compte les incidents de ces services et de ces jours que le début d’une dérogation a clos, ou qu’une personne a déclarés excusés.";
    candidates: "Candidates", "Candidats";
    candidates_hint: "Host names that no signature knows, on servers in address ranges of a known owner. They may be missing in the signatures, or may have nothing to do with a banned service. No device stands here.", "Noms d’hôtes qu’aucune signature ne connaît, sur des serveurs dans les plages d’adresses d’un propriétaire connu. Ils manquent peut-être aux signatures, ou n’ont rien à voir avec un service interdit. Aucun appareil ne figure ici.";
    candidates_not_set: "The sensor's candidates are not read here: set sensor.candidates_folder, and judgement.candidates_folder of the sensor.", "Les candidats du capteur ne sont pas lus ici : définissez sensor.candidates_folder, et judgement.candidates_folder du capteur.";
    candidates_unreadable: "The sensor's candidates cannot be read:", "Les candidats du capteur sont illisibles :";
    no_candidate: "No name is proposed.", "Aucun nom n’est proposé.";
    in_ranges_of: "Address range of", "Plage d’adresses de";
    what_to_do: "What to do with them", "Qu’en faire";
    candidates_next: "'vigie explain NAME' tells why a name is not known. A name that belongs to a service goes into a signature of your own ('vigie signatures --help'). The files of the sensor are kept for seven days.", "« vigie explain NOM » dit pourquoi un nom n’est pas connu. Un nom qui appartient à un service se met dans une signature à vous (« vigie signatures --help »). Les fichiers du capteur sont conservés sept jours.";
    audit: "Audit", "Audit";
    health: "Health", "État";
    seals: "Seals that cover the period", "Scellés qui couvrent la période";
    destinations: "Destinations", "Destinations";
    day: "Day", "Jour";
    does_not_prove: "What this does not prove", "Ce que cela ne prouve pas";
    device: "Device", "Appareil";
    devices: "Devices", "Appareils";
    accessibility: "Accessibility", "Accessibilité";
    keys: "Keyboard", "Clavier";
    keys_on: "Turn keyboard shortcuts on", "Activer les raccourcis clavier";
    keys_off: "Turn keyboard shortcuts off", "Désactiver les raccourcis clavier";
    theme_dark: "Dark", "Sombre";
    theme_light: "Light", "Clair";
    theme_auto: "As the system", "Comme le système";
    sign_in: "Sign in", "Se connecter";
    sign_out: "Sign out", "Se déconnecter";
    user: "User name", "Identifiant";
    password: "Password", "Mot de passe";
    wrong_password: "User name or password is wrong.", "Identifiant ou mot de passe incorrect.";
    too_many_tries: "Too many tries. Wait a few minutes, then try again.", "Trop d’essais. Patientez quelques minutes, puis réessayez.";
    role_viewer: "viewer", "lecture";
    role_analyst: "analyst", "analyste";
    role_dpo: "data protection officer", "délégué à la protection des données";
    footer: "Times are those of", "Heures de";
    newest_event: "newest event", "dernier événement";
    no_event_yet: "no event yet", "aucun événement pour l’instant";
    days: "Days", "Jours";
    last_24_hours: "Open, and the last 24 h", "En cours et dernières 24 h";
    all_days: "All days", "Tous les jours";
    today: "Today", "Aujourd’hui";
    filters: "Filters", "Filtres";
    all: "All", "Tous";
    when: "When", "Quand";
    what: "What", "Quoi";
    who: "Who", "Qui";
    why: "Why", "Pourquoi";
    state: "State", "État";
    verdict: "Verdict", "Verdict";
    site: "Site", "Site";
    decision: "Decision", "Décision";
    undecided: "Not taken up", "Non pris en charge";
    taken_up: "taken up", "pris en charge";
    open: "Open", "En cours";
    closed: "Closed", "Clos";
    newest_first: "Newest first", "Les plus récents d’abord";
    oldest_first: "Oldest first", "Les plus anciens d’abord";
    more: "More", "Suite";
    newer: "newer", "plus récent";
    older: "older", "plus ancien";
    no_incidents: "No incident in this selection.", "Aucun incident dans cette sélection.";
    first_run: "first start", "premier lancement";
    withheld: "not told: first finding", "non communiqué : premier constat";
    proved_by: "Proof:", "Preuve :";
    rule_in_force: "Under which rule, and would it have been seen?", "Quelle règle, et l’aurait-on vu ?";
    what_was_done: "What others have done", "Ce que d’autres ont fait";
    nobody_yet: "Nobody has taken it up yet.", "Personne ne l’a encore pris en charge.";
    note: "Note", "Note";
    note_hint: "Analysts and the data protection officer read it; it stays in the audit. Leave out addresses and names of persons.", "Lue par les analystes et le délégué à la protection des données ; elle reste dans le journal d’audit. N’y mettez ni adresse ni nom de personne.";
    note_names_an_address: "The note names an address. Notes stay in the audit, so leave it out.", "La note contient une adresse. Les notes restent dans le journal d’audit : retirez-la.";
    note_is_needed: "Write a note.", "Écrivez une note.";
    acknowledge: "Take up", "Prendre en charge";
    confirmed: "Confirmed", "Confirmé";
    false_alarm: "False alarm", "Fausse alerte";
    excused: "Excused", "Excusé";
    note_only: "Note only", "Note seule";
    facts: "Facts", "Faits";
    timeline: "Course", "Déroulement";
    bytes_by_region: "Bytes by region in the host name", "Octets par région du nom d’hôte";
    region: "Region", "Région";
    region_hint: "The region is what the host name says. It does not prove where the data went or stay.", "La région est celle que dit le nom d’hôte. Elle ne prouve pas où les données sont allées ni où elles restent.";
    no_region: "no region in the name", "aucune région dans le nom";
    sent: "Sent", "Envoyés";
    received: "Received", "Reçus";
    share: "Share", "Part";
    evidence: "Evidence", "Preuves";
    no_evidence: "No flow is kept: flows are removed earlier than incidents.", "Aucun flux conservé : les flux sont supprimés avant les incidents.";
    name_seen: "Name", "Nom";
    family: "Family", "Famille";
    seen_in: "Seen in", "Vu dans";
    rule: "Rule", "Règle";
    source_reviewed: "Source, reviewed", "Source, relue le";
    server: "Server", "Serveur";
    same_device: "Same device", "Même appareil";
    for_a_ticket: "For a ticket", "Pour un ticket";
    copy_as_text: "Copy as text", "Copier en texte";
    in_other_tools: "In other tools:", "Dans d’autres outils :";
    raw_events: "Raw events (EVE JSON)", "Événements bruts (EVE JSON)";
    raw_is_gone: "These events are no longer in the journal.", "Ces événements ne sont plus dans le journal.";
    seen: "seen", "vu";
    lossy: "with losses", "avec pertes";
    blind: "blind", "aveugle";
    off: "nothing told", "rien de signalé";
    coverage_unknown: "The journal has no coverage events: the sensor is older, or this is a replay. That no finding is shown does not prove that there was none.", "Le journal ne contient aucun événement de couverture : capteur plus ancien, ou rejeu. L’absence de constat ne prouve pas qu’il ne s’est rien passé.";
    by_hour: "By hour", "Par heure";
    minute: "Minute", "Minute";
    minutes_of: "Minutes of", "Minutes de";
    only_the_app_contacts: "Names that only the app contacts", "Noms que seule l’application contacte";
    no_native_name: "None was seen, or their flows were already removed.", "Aucun n’a été vu, ou leurs flux ont déjà été supprimés.";
    names_that_told: "Host names that told the region, in the newest incidents", "Noms d’hôtes qui ont dit la région, dans les derniers incidents";
    hour: "Hour", "Heure";
    interface: "Interface", "Interface";
    share_seen: "Time seen", "Temps vu";
    lost_packets: "Lost, per million", "Pertes, par million";
    hellos: "Hellos", "Hellos";
    nameless: "Without a name", "Sans nom";
    judged_by: "Judged by", "Jugé d’après";
    not_told: "Not told.", "Non communiqué.";
    since: "Since", "Depuis";
    policy: "Policy", "Politique";
    signatures: "Signatures", "Signatures";
    cannot_see: "What a tap cannot see", "Ce qu’une dérivation ne peut pas voir";
    bans_hint: "All bans that vigie knows. The first ones are those under which incidents stand in the journal.", "Toutes les interdictions que vigie connaît. En tête, celles sous lesquelles le journal contient des incidents.";
    authority: "Authority", "Autorité";
    in_force_since: "In force since", "En vigueur depuis";
    device_hint: "A device is known by its address, within a day. Another person may have it on another day.", "Un appareil est connu par son adresse, pour un jour donné. Un autre jour, ce peut être celui de quelqu’un d’autre.";
    services_hint: "Services with incidents. Embedded players and pixels are no incidents, and do not count.", "Services avec incidents. Les lecteurs intégrés et les pixels ne sont pas des incidents et ne comptent pas.";
    apps: "Application", "Application";
    first_seen: "First", "Premier";
    last_seen: "Last", "Dernier";
    first_devices: "Which device was first", "Quel appareil a été le premier";
    rules_that_answered: "Rules that answered", "Règles qui ont répondu";
    only_the_app: "only the app", "application seule";
    flows: "Flows", "Flux";
    audit_hint: "Who looked, decided or changed something. Lines name no address of a device.", "Qui a consulté, décidé ou modifié. Aucune ligne ne nomme l’adresse d’un appareil.";
    no_audit: "No audit line.", "Aucune ligne d’audit.";
    keys_hint: "Shortcuts do nothing while you type in a field. They can be turned off in the menu at the top right.", "Les raccourcis sont inactifs pendant la saisie dans un champ. Ils se désactivent dans le menu en haut à droite.";
    not_found: "Not found", "Introuvable";
    not_found_text: "There is no such page, or the record was removed when its time was over.", "Cette page n’existe pas, ou l’enregistrement a été supprimé à son échéance.";
    forbidden: "Not allowed", "Accès refusé";
    forbidden_text: "Your role does not allow this.", "Votre rôle ne le permet pas.";
    stale_form: "The form was too old, or came from elsewhere. Nothing was done. Go back, reload the page and try again.", "Le formulaire était trop ancien ou venait d’ailleurs. Rien n’a été fait. Revenez en arrière, rechargez la page et réessayez.";
    unavailable: "Not available at the moment", "Indisponible pour le moment";
    unavailable_text: "The tables cannot be read at the moment; they come back by themselves. The journal is not touched.", "Les tables ne peuvent pas être lues pour l’instant ; elles reviennent d’elles-mêmes. Le journal reste intact.";
    not_recorded: "The journal of the console cannot be written, so nothing was done or shown. Ask who runs the console.", "Le journal de la console ne peut pas être écrit : rien n’a été fait ni affiché. Prévenez l’exploitant de la console.";
}

impl Words {
    /// What a tap cannot see.
    pub fn cannot_see_list(&self) -> &'static [&'static str] {
        match self.language {
            Language::En => &[
                "Phones on mobile data, or on another network.",
                "Names under Encrypted Client Hello, as far as no DNS answer told them.",
                "What runs inside a VPN or an encrypted proxy.",
                "Whether a person used the device, and who it was.",
            ],
            Language::Fr => &[
                "Les téléphones sur données mobiles ou sur un autre réseau.",
                "Les noms sous Encrypted Client Hello, si aucune réponse DNS ne les a dits.",
                "Ce qui passe dans un VPN ou un mandataire chiffré.",
                "Si une personne utilisait l’appareil, et laquelle.",
            ],
        }
    }

    /// Keys, and what they do.
    pub fn key_list(&self) -> &'static [(&'static str, &'static str)] {
        match self.language {
            Language::En => &[
                ("j", "next row, or the older incident"),
                ("k", "previous row, or the newer incident"),
                ("o", "open the row (or Enter)"),
                ("u", "back to the list"),
                ("e", "take up the incident"),
                ("n", "write a note"),
                ("c", "copy the incident as text"),
                ("r", "bring in what is new"),
                ("/", "search"),
                ("g i", "incidents"),
                ("g c", "coverage"),
                ("g b", "bans"),
                ("g s", "services"),
                ("g d", "destinations"),
                ("g e", "derogations"),
                ("g n", "candidates"),
                ("g a", "audit"),
                ("g h", "health"),
                ("?", "this page"),
            ],
            Language::Fr => &[
                ("j", "ligne suivante, ou incident plus ancien"),
                ("k", "ligne précédente, ou incident plus récent"),
                ("o", "ouvrir la ligne (ou Entrée)"),
                ("u", "retour à la liste"),
                ("e", "prendre l’incident en charge"),
                ("n", "écrire une note"),
                ("c", "copier l’incident en texte"),
                ("r", "afficher les nouveautés"),
                ("/", "rechercher"),
                ("g i", "incidents"),
                ("g c", "couverture"),
                ("g b", "interdictions"),
                ("g s", "services"),
                ("g d", "destinations"),
                ("g e", "dérogations"),
                ("g n", "candidats"),
                ("g a", "journal d’audit"),
                ("g h", "état"),
                ("?", "cette page"),
            ],
        }
    }

    /// "3 incidents".
    pub fn incident_count(&self, count: u64) -> String {
        let number = self.number(count);
        match (self.language, count) {
            (_, 1) => format!("{number} incident"),
            (Language::Fr, 0) => "0 incident".to_owned(),
            _ => format!("{number} incidents"),
        }
    }

    /// A number with its thousands apart.
    pub fn number(&self, number: u64) -> String {
        let digits = number.to_string();
        let mut text = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(if self.language == Language::Fr { '\u{202f}' } else { ',' });
            }
            text.push(digit);
        }
        text
    }

    /// A number with one digit behind the point.
    pub fn decimal(&self, number: f64) -> String {
        let text = format!("{number:.1}");
        if self.language == Language::Fr { text.replace('.', ",") } else { text }
    }

    /// Parts per hundred. What is not all is never shown as all.
    pub fn percent(&self, part: u64, whole: u64) -> String {
        if whole == 0 {
            return "–".to_owned();
        }
        let share = part as f64 * 100.0 / whole as f64;
        let share = if part < whole { share.min(99.9) } else { share };
        match self.language {
            Language::En => format!("{} %", self.decimal(share)).replace(" %", "%"),
            Language::Fr => format!("{}\u{202f}%", self.decimal(share)),
        }
    }

    /// Bytes in decimal units.
    pub fn bytes(&self, bytes: u64) -> String {
        let unit = self.language.pick("B", "o");
        let space = '\u{a0}';
        match bytes {
            0..1_000 => format!("{bytes}{space}{unit}"),
            1_000..1_000_000 => format!("{}{space}k{unit}", self.decimal(bytes as f64 / 1e3)),
            1_000_000..1_000_000_000 => format!("{}{space}M{unit}", self.decimal(bytes as f64 / 1e6)),
            _ => format!("{}{space}G{unit}", self.decimal(bytes as f64 / 1e9)),
        }
    }

    /// A span of seconds.
    pub fn duration(&self, seconds: u64) -> String {
        let space = '\u{a0}';
        match seconds {
            0..120 => format!("{seconds}{space}s"),
            120..7_200 => format!("{}{space}min", seconds / 60),
            7_200..172_800 => format!("{}{space}h", seconds / 3_600),
            _ => format!("{}{space}{}", seconds / 86_400, self.language.pick("d", "j")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_say_everything() {
        for (name, english, french) in ALL {
            assert!(!english.is_empty() && !french.is_empty(), "{name}");
            assert!(!french.contains('\''), "{name}: French has typographic apostrophes");
            assert_eq!(english.ends_with('.'), french.ends_with('.'), "{name}");
        }
        assert_eq!(EN.key_list().len(), FR.key_list().len());
        assert_eq!(EN.cannot_see_list().len(), FR.cannot_see_list().len());
    }

    #[test]
    fn numbers_read_as_in_the_language() {
        assert_eq!(EN.number(1_234_567), "1,234,567");
        assert_eq!(FR.number(1_234), "1\u{202f}234");
        assert_eq!(EN.bytes(12_345_678), "12.3\u{a0}MB");
        assert_eq!(FR.bytes(1_500), "1,5\u{a0}ko");
        assert_eq!(EN.percent(99_999, 100_000), "99.9%");
        assert_eq!(EN.percent(3, 3), "100.0%");
        assert_eq!(EN.percent(0, 0), "–");
        assert_eq!(FR.incident_count(0), "0 incident");
        assert_eq!(EN.incident_count(0), "0 incidents");
    }

    #[test]
    fn the_preferred_language_is_taken() {
        assert_eq!(Language::accepted("fr-BE,fr;q=0.9,en;q=0.8"), Language::Fr);
        assert_eq!(Language::accepted("nl,en;q=0.5"), Language::En);
        assert_eq!(Language::accepted(""), Language::En);
        assert_eq!(Language::of("é"), None);
    }
}
