//! The texts in French.

use vigie_judgement::policy::ScopeKind;

use super::facts::{Facts, Network, given, list};
use crate::settings::Language;

pub(super) fn text(facts: &Facts) -> String {
    let Facts { sensor, events_file, audit_file, derogations, assets, .. } = facts;
    let controller = given(facts.controller.as_ref(), "à compléter : privacy.controller");
    let contact = given(facts.contact.as_ref(), "à compléter : privacy.contact");
    let bans = list(facts.bans.iter().map(|ban| ban.line(Language::French)));
    let (covered, left_out) = (covered(facts), left_out(facts));
    let (collected, naming, seen, retention) = (collected(facts), naming(facts), seen(facts), retention(events_file));
    let derogation = match derogations {
        0 => "Aucune dérogation n'est inscrite au registre.".to_owned(),
        _ => format!(
            "Dérogations inscrites au registre : {derogations}. Rien n'est enregistré sur leurs bénéficiaires tant \
             qu'elles durent."
        ),
    };
    let dpia = given(facts.dpia_reference.as_ref(), "à compléter : privacy.dpia_reference");
    let notice = given(facts.notice_date.as_ref(), "à compléter : privacy.notice_date");
    let consultation = given(facts.staff_consultation_date.as_ref(), "à compléter : privacy.staff_consultation_date");
    let site = given(facts.site.as_ref(), "à compléter : privacy.site");
    format!(
        "INFORMATION DES AGENTS (français)\n\n\
         {controller} observe les connexions des appareils professionnels afin d'y trouver les applications et les services \
         qui y sont interdits. Une sonde placée sur le réseau lit les noms des serveurs (TLS, QUIC, DTLS, DNS, HTTP) ; elle \
         ne déchiffre rien, ne bloque rien et ne conserve aucun contenu.\n\n\
         Interdictions appliquées :\n{bans}\n\
         Appareils concernés :\n{covered}\n\
         Personnes dont rien n'est enregistré :\n{left_out}\n\
         Ce qui est enregistré :\n{collected}\n\
         {naming}\n\n\
         {seen}\n\n\
         {retention}\n\n\
         {derogation}\n\n\
         Base légale : [à confirmer par le délégué à la protection des données : mission d'intérêt public ou obligation \
         légale, RGPD article 6, paragraphe 1, e) ou c)]. Aucune décision n'est prise par la machine seule : un incident dit \
         ce qui a été vu et pourquoi, et une personne en juge.\n\n\
         Vous pouvez demander l'accès, la rectification, l'effacement et la limitation, et vous opposer (RGPD, articles 15 \
         à 21) : {contact}. Vous pouvez introduire une réclamation auprès de l'autorité de contrôle.\n\n\n\
         ÉLÉMENTS POUR L'ANALYSE D'IMPACT (RGPD, article 35)\n\n\
         Référence : {dpia}. Information des agents : {notice}. Consultation de leurs représentants : {consultation}.\n\
         Surveillance systématique d'un réseau utilisé par des agents : une analyse est à prévoir.\n\n\
         Données : adresses des clients{mac}, noms et adresses des serveurs, heures, octets, empreinte du programme TLS \
         (JA4), libellés de l'inventaire ({assets} entrées).\n\
         Nécessité : les noms sont comparés en mémoire ; ce qui ne correspond à aucune signature n'est jamais écrit.\n\
         Proportionnalité : une page qui ne fait qu'intégrer un service n'ouvre pas d'incident ; les invités et les \
         dérogations ne sont comptés que par totaux, sans détail en dessous de cinq.\n\
         {naming}\n\
         {seen}\n\
         Risques et mesures : {second} Le journal d'audit ({audit_file}) retient chaque levée de pseudonyme, changement de \
         politique, dérogation et nouvelle clé, et jamais une adresse. Le processus qui lit les paquets n'a pas de réseau et \
         abandonne ses droits avant le premier paquet.\n\n\n\
         FICHE DU REGISTRE DES TRAITEMENTS (RGPD, article 30)\n\n\
         Responsable : {controller}. Contact : {contact}.\n\
         Traitement : détection d'applications interdites sur les appareils professionnels, sonde {sensor}, site {site}.\n\
         Finalité : respect des interdictions ci-dessus, sécurité de l'information.\n\
         Catégories de personnes : utilisateurs des appareils ci-dessus. Catégories de données : voir l'analyse d'impact.\n\
         Destinataires : les personnes qui lisent {events_file}, et là où il est transmis [à compléter].\n\
         Transferts hors de l'Union : aucun par la sonde.\n\
         {retention}\n\
         Sécurité : voir l'analyse d'impact.\n",
        mac = if facts.uses_mac { " et leurs adresses matérielles" } else { "" },
        second = match (facts.pseudonyms, facts.reveal_needs_second) {
            (None, _) => "les événements nomment les appareils, leur accès doit donc être limité.",
            (Some(_), false) => "une seule personne qui détient la clé peut lever un pseudonyme.",
            (Some(_), true) => "la levée d'un pseudonyme demande une seconde personne.",
        },
    )
}

fn covered(facts: &Facts) -> String {
    let unlisted = facts.covers_unlisted.then(|| "tous les clients qu'aucun réseau ci-dessous ne nomme".to_owned());
    let listed = facts.covers_assets.then(|| "les appareils de l'inventaire qu'une interdiction peut viser".to_owned());
    list(unlisted.into_iter().chain(listed).chain(facts.covered.iter().map(network)))
}

fn left_out(facts: &Facts) -> String {
    let unlisted = (!facts.covers_unlisted).then(|| "tous les clients qu'aucun réseau ne nomme".to_owned());
    let lines: Vec<String> = unlisted.into_iter().chain(facts.left_out.iter().map(network)).collect();
    list(if lines.is_empty() { vec!["personne n'est écarté".to_owned()] } else { lines })
}

fn network(network: &Network) -> String {
    let kind = match network.kind {
        ScopeKind::Official => "appareils professionnels",
        ScopeKind::Sensitive => "appareils professionnels d'une zone sensible",
        ScopeKind::Connected => "appareils ayant accès aux réseaux internes",
        ScopeKind::Enrolled => "appareils gérés",
        ScopeKind::Contractor => "appareils de prestataires",
        ScopeKind::Guest => "invités",
        ScopeKind::Personal => "appareils personnels",
    };
    format!("{} : {kind}", network.name)
}

fn collected(facts: &Facts) -> String {
    let mut lines = vec![
        "incidents : quel appareil a utilisé quel service interdit, quand, combien, et les raisons en toutes lettres"
            .to_owned(),
        "alertes : les connexions à ce service tant qu'un incident est ouvert".to_owned(),
    ];
    if let Some((records, until)) = &facts.debug {
        lines.push(format!("jusqu'au {until}, pour un essai, le trafic de tous : {records}"));
    }
    list(lines)
}

fn naming(facts: &Facts) -> String {
    let names = match facts.pseudonyms {
        Some(period) => {
            let period = match period {
                "week" => "semaine",
                "day" => "jour",
                _ => "mois",
            };
            format!(
                "Les appareils sont écrits sous pseudonyme. Leur clé change à chaque {period} ; qui la détient peut les lever, \
                 avec un numéro de dossier et un motif, et chaque levée est enregistrée. L'administrateur (root) de la sonde \
                 peut lever les pseudonymes en cours (période : {period})."
            )
        }
        None => "Les appareils sont écrits par leur adresse ou leur nom ; il n'y a pas de pseudonymes.".to_owned(),
    };
    match facts.warns_first {
        true => format!(
            "{names} Le premier constat concernant un appareil dans une période ne dit que le site et le service ; le second \
             le nomme."
        ),
        false => names,
    }
}

fn seen(facts: &Facts) -> String {
    format!(
        "Qui y a accès : les personnes qui peuvent lire {} [à compléter : équipes et fonctions].",
        facts.events_file
    )
}

fn retention(events_file: &str) -> String {
    format!(
        "Durée : tant que {events_file} et ses copies sont gardés [à compléter ; recommandé : incidents 180 jours, alertes 30 \
         jours]. La sonde n'efface rien elle-même ; la rotation fournie par le paquet garde 30 fichiers, un par jour."
    )
}
