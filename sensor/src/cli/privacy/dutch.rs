//! The texts in Dutch.

use vigie_judgement::policy::ScopeKind;

use super::facts::{Facts, Network, given, list};
use crate::settings::Language;

pub(super) fn text(facts: &Facts) -> String {
    let Facts { sensor, events_file, audit_file, derogations, assets, .. } = facts;
    let controller = given(facts.controller.as_ref(), "aan te vullen: privacy.controller");
    let contact = given(facts.contact.as_ref(), "aan te vullen: privacy.contact");
    let bans = list(facts.bans.iter().map(|ban| ban.line(Language::Dutch)));
    let (covered, left_out) = (covered(facts), left_out(facts));
    let (collected, naming, seen, retention) = (collected(facts), naming(facts), seen(facts), retention(events_file));
    let derogation = match derogations {
        0 => "Er is geen afwijking geregistreerd.".to_owned(),
        _ => format!(
            "Geregistreerde afwijkingen: {derogations}. Over wie een afwijking heeft, wordt niets vastgelegd zolang ze duurt."
        ),
    };
    let dpia = given(facts.dpia_reference.as_ref(), "aan te vullen: privacy.dpia_reference");
    let notice = given(facts.notice_date.as_ref(), "aan te vullen: privacy.notice_date");
    let consultation = given(facts.staff_consultation_date.as_ref(), "aan te vullen: privacy.staff_consultation_date");
    let site = given(facts.site.as_ref(), "aan te vullen: privacy.site");
    format!(
        "INFORMATIE VOOR HET PERSONEEL (Nederlands)\n\n\
         {controller} observeert de verbindingen van diensttoestellen om er toepassingen en diensten op te vinden die er \
         verboden zijn. Een sensor op het netwerk leest de namen van servers (TLS, QUIC, DTLS, DNS, HTTP); hij ontcijfert \
         niets, blokkeert niets en bewaart geen inhoud.\n\n\
         Welke verboden gelden:\n{bans}\n\
         Om wiens toestellen het gaat:\n{covered}\n\
         Over wie niets wordt vastgelegd:\n{left_out}\n\
         Wat wordt vastgelegd:\n{collected}\n\
         {naming}\n\n\
         {seen}\n\n\
         {retention}\n\n\
         {derogation}\n\n\
         Rechtsgrond: [te bevestigen door de functionaris voor gegevensbescherming: taak van algemeen belang of wettelijke \
         verplichting, AVG artikel 6, lid 1, e) of c)]. De machine beslist niets alleen: een incident zegt wat werd gezien en \
         waarom, en een mens beoordeelt het.\n\n\
         U kunt vragen om inzage, rectificatie, wissing en beperking, en bezwaar maken (AVG, artikelen 15 tot 21): {contact}. \
         U kunt een klacht indienen bij de toezichthoudende autoriteit.\n\n\n\
         GEGEVENS VOOR DE EFFECTBEOORDELING (AVG, artikel 35)\n\n\
         Referentie: {dpia}. Informatie aan het personeel: {notice}. Raadpleging van zijn vertegenwoordigers: \
         {consultation}.\n\
         Stelselmatige observatie van een netwerk dat personeel gebruikt: een beoordeling is te verwachten.\n\n\
         Gegevens: adressen van clients{mac}, namen en adressen van servers, tijden, bytes, de vingerafdruk van het \
         TLS-programma (JA4), labels van de inventaris ({assets} regels).\n\
         Noodzaak: namen worden in het geheugen vergeleken; wat met geen signatuur overeenkomt, wordt nooit geschreven.\n\
         Evenredigheid: pagina's die een dienst enkel insluiten, openen geen incident; gasten en afwijkingen worden alleen als \
         totalen geteld, onder vijf zonder detail.\n\
         {naming}\n\
         {seen}\n\
         Risico's en maatregelen: {second} Het auditlogboek ({audit_file}) vermeldt elke onthulling, wijziging van beleid, \
         afwijking en nieuwe sleutel, en nooit een adres. Het proces dat pakketten leest, heeft geen netwerk en geeft zijn \
         rechten op vóór het eerste pakket.\n\n\n\
         VERMELDING IN HET REGISTER VAN VERWERKINGEN (AVG, artikel 30)\n\n\
         Verantwoordelijke: {controller}. Contact: {contact}.\n\
         Verwerking: opsporing van verboden toepassingen op diensttoestellen, sensor {sensor}, site {site}.\n\
         Doel: naleving van de verboden hierboven, informatiebeveiliging.\n\
         Categorieën van personen: gebruikers van de toestellen hierboven. Categorieën van gegevens: zie de \
         effectbeoordeling.\n\
         Ontvangers: wie {events_file} leest, en waarheen het wordt doorgestuurd [aan te vullen].\n\
         Doorgifte buiten de Unie: geen door de sensor.\n\
         {retention}\n\
         Beveiliging: zie de effectbeoordeling.\n",
        mac = if facts.uses_mac { " en hun hardwareadressen" } else { "" },
        second = match (facts.pseudonyms, facts.reveal_needs_second) {
            (None, _) => "de gebeurtenissen noemen toestellen, dus moet de toegang ertoe beperkt zijn.",
            (Some(_), false) => "één persoon met de sleutel kan een pseudoniem onthullen.",
            (Some(_), true) => "voor een onthulling is een tweede persoon nodig.",
        },
    )
}

fn covered(facts: &Facts) -> String {
    let unlisted = facts.covers_unlisted.then(|| "alle clients die geen netwerk hieronder noemt".to_owned());
    let listed =
        facts.covers_assets.then(|| "de toestellen van de inventaris waarvoor een verbod kan gelden".to_owned());
    list(unlisted.into_iter().chain(listed).chain(facts.covered.iter().map(network)))
}

fn left_out(facts: &Facts) -> String {
    let unlisted = (!facts.covers_unlisted).then(|| "alle clients die geen netwerk noemt".to_owned());
    let lines: Vec<String> = unlisted.into_iter().chain(facts.left_out.iter().map(network)).collect();
    list(if lines.is_empty() { vec!["niemand wordt uitgezonderd".to_owned()] } else { lines })
}

fn network(network: &Network) -> String {
    let kind = match network.kind {
        ScopeKind::Official => "diensttoestellen",
        ScopeKind::Sensitive => "diensttoestellen in een gevoelige zone",
        ScopeKind::Connected => "toestellen met toegang tot interne netwerken",
        ScopeKind::Enrolled => "beheerde toestellen",
        ScopeKind::Contractor => "toestellen van opdrachtnemers",
        ScopeKind::Guest => "gasten",
        ScopeKind::Personal => "persoonlijke toestellen",
    };
    format!("{}: {kind}", network.name)
}

fn collected(facts: &Facts) -> String {
    let mut lines = vec![
        "incidenten: welk toestel welke verboden dienst gebruikte, wanneer, hoeveel, en de redenen in woorden"
            .to_owned(),
        "alarmen: de verbindingen met die dienst zolang een incident open is".to_owned(),
    ];
    if let Some((records, until)) = &facts.debug {
        lines.push(format!("tot {until}, voor een test, het verkeer van iedereen: {records}"));
    }
    list(lines)
}

fn naming(facts: &Facts) -> String {
    let names = match facts.pseudonyms {
        Some(period) => {
            let period = match period {
                "week" => "week",
                "day" => "dag",
                _ => "maand",
            };
            format!(
                "Toestellen worden met een pseudoniem geschreven. De sleutel verandert elke {period}; wie hem heeft, kan ze \
                 onthullen met een dossiernummer en een reden, en elke onthulling wordt vastgelegd. De beheerder (root) van \
                 de sensor kan de lopende {period} onthullen."
            )
        }
        None => "Toestellen worden met hun adres of naam geschreven; er zijn geen pseudoniemen.".to_owned(),
    };
    match facts.warns_first {
        true => format!(
            "{names} De eerste bevinding over een toestel in een periode vermeldt alleen site en dienst; de tweede noemt het."
        ),
        false => names,
    }
}

fn seen(facts: &Facts) -> String {
    format!("Wie het ziet: wie {} mag lezen [aan te vullen: teams en functies].", facts.events_file)
}

fn retention(events_file: &str) -> String {
    format!(
        "Hoe lang: zolang {events_file} en kopieën ervan bewaard worden [aan te vullen; aanbevolen: incidenten 180 dagen, \
         alarmen 30 dagen]. De sensor wist zelf niets; de rotatie van het pakket houdt 30 bestanden, één per dag."
    )
}
