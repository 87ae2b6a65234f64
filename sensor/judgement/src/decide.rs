//! The rules: from the set of families of an episode to a verdict. They stand in the order in which they are asked; the
//! first that fits answers.

use vigie_signatures::Class;

use crate::{Around, Episode, Judgement, Kind, Reason, Thresholds, Verdict};

/// Family of sign-in names, which stand in pages of others too.
const LOGIN: &str = "login";
/// Family of a site's front page.
const FRONT: &str = "front";
/// Families of scripts that a page of the service loads.
const SCRIPTS: [&str; 4] = ["ttwstatic", "webmssdk", "libraweb", "mcs"];
/// Families that only a use in the foreground contacts.
const FOREGROUND: [&str; 4] = ["search", "webcast", "upload", "live"];

/// What the episode says of its client and service; `None` where it says nothing of its own.
pub fn decide(episode: &Episode, around: &Around<'_>, thresholds: &Thresholds) -> Option<Judgement> {
    let (kind, mut reasons) = native(episode, around, thresholds)
        .or_else(|| site(episode))
        .or_else(|| page(episode, thresholds))
        .or_else(|| embedded(episode))
        .or_else(|| shared(episode, around))
        // Names that only look like the service's prove no use.
        .filter(|(kind, _)| !kind.is_use() || episode.has_sure_name())?;
    let first_run = kind.verdict() == Verdict::App && !boot_names(episode, around).is_empty();
    if first_run {
        reasons.push(Reason::FirstRun);
    }
    let attempt = episode.attempt();
    if attempt == Some(true) {
        reasons.push(Reason::Attempt);
    }
    Some(Judgement { kind, first_run, attempt, reasons })
}

/// Names of a first start that belong to the service.
fn boot_names(episode: &Episode, around: &Around<'_>) -> Vec<String> {
    let own = episode.boot_names().filter(|_| !around.boot_is_of_another);
    own.map(String::from).chain(around.more_boot.iter().cloned()).collect()
}

type Decided = Option<(Kind, Vec<Reason>)>;

/// The application: names that its own stack contacts.
fn native(episode: &Episode, around: &Around<'_>, thresholds: &Thresholds) -> Decided {
    let families: Vec<String> = episode.interfaces().map(|family| String::from(&*family.name)).collect();
    let boot_names = boot_names(episode, around);
    let likely = episode.names(Class::NativeLikely);
    if families.is_empty() && likely.is_empty() && boot_names.is_empty() {
        return None;
    }
    let is_browser = episode.is_browser() && !episode.has_desktop_name();
    let proof =
        if is_browser { Vec::new() } else { proof(episode, around, thresholds, &families, &boot_names, &likely) };
    if !proof.is_empty() {
        return Some(application(episode, thresholds, proof));
    }
    // A person on the site is more than what stays undetermined.
    site(episode)
        .filter(|(kind, _)| kind.is_use())
        .or_else(|| Some(undetermined(families, likely, boot_names, is_browser)))
}

/// Native names that prove nothing yet.
fn undetermined(
    families: Vec<String>,
    likely: Vec<String>,
    boot_names: Vec<String>,
    is_browser: bool,
) -> (Kind, Vec<Reason>) {
    match families.as_slice() {
        [_, _, ..] => (Kind::BrowserInterfaces, vec![Reason::NativeFamilies(families), Reason::CurrentBrowser]),
        [family] => {
            let mut reasons = vec![Reason::OneInterface(family.clone())];
            if is_browser {
                reasons.push(Reason::CurrentBrowser);
            }
            (Kind::LoneInterface, reasons)
        }
        [] if !likely.is_empty() => (Kind::LoneInterface, vec![Reason::NativeLikely(likely)]),
        [] => (Kind::BootOnly, vec![Reason::BootNames(boot_names)]),
    }
}

/// What proves the application; empty where nothing does.
fn proof(
    episode: &Episode,
    around: &Around<'_>,
    thresholds: &Thresholds,
    families: &[String],
    boot_names: &[String],
    likely: &[String],
) -> Vec<Reason> {
    let mut proof = Vec::new();
    if families.len() >= 2 {
        proof.push(Reason::NativeFamilies(families.to_vec()));
    }
    if let [family] = families {
        if around.resolver || !likely.is_empty() {
            proof.push(Reason::NativeFamilies(families.to_vec()));
        }
        if around.resolver {
            proof.push(Reason::Resolver);
        }
        if !likely.is_empty() {
            proof.push(Reason::NativeLikely(likely.to_vec()));
        }
        if let Some((earlier, apart_s)) = around.earlier
            && earlier == family
            && thresholds.is_return(apart_s.saturating_mul(1_000_000_000))
        {
            proof.push(Reason::ContactedAgain(family.clone(), apart_s));
        }
    }
    // The desktop program has one family: the live rooms, and the connection for their messages.
    if let ([_], Some(live)) = (families, episode.interfaces().next())
        && episode.is_desktop()
        && live.names.len() >= 2
    {
        proof.push(Reason::DesktopNames(live.names.iter().map(|name| String::from(&**name)).collect()));
    }
    let own_interface = episode.own_interface();
    if !own_interface.is_empty() {
        proof.push(Reason::OwnInterface(own_interface));
    }
    if boot_names.len() >= 2 {
        proof.push(Reason::BootNames(boot_names.to_vec()));
    }
    proof
}

fn application(episode: &Episode, thresholds: &Thresholds, mut reasons: Vec<Reason>) -> (Kind, Vec<Reason>) {
    if episode.is_desktop() {
        return (Kind::Desktop, reasons);
    }
    let in_foreground = |class| episode.families(class).filter(|family| FOREGROUND.contains(&&*family.name));
    let foreground: Vec<String> = in_foreground(Class::Native)
        .chain(in_foreground(Class::NativeLikely))
        .chain(in_foreground(Class::Media))
        .map(|family| String::from(&*family.name))
        .collect();
    let is_watching = episode.media_bytes >= thresholds.in_use_media_bytes;
    if foreground.is_empty() && !is_watching {
        return (Kind::Background, reasons);
    }
    if !foreground.is_empty() {
        reasons.push(Reason::ForegroundFamilies(foreground));
    }
    if is_watching {
        reasons.push(Reason::Media(episode.media_bytes));
    }
    (Kind::InUse, reasons)
}

/// The site: names that a person on it contacts, consoles, portals, shared links.
fn site(episode: &Episode) -> Decided {
    if episode.has(Class::Console) {
        return Some((Kind::Console, vec![Reason::ConsoleNames(episode.names(Class::Console))]));
    }
    if episode.families(Class::Site).any(|family| *family.name != *LOGIN) {
        return Some((Kind::Site, vec![Reason::SiteNames(episode.names(Class::Site)), Reason::MayHideMore]));
    }
    if episode.has(Class::Site) {
        return Some((Kind::SignIn, vec![Reason::SignInNames(episode.names(Class::Site))]));
    }
    if episode.has(Class::Link) {
        let mut reasons = vec![Reason::LinkNames(episode.names(Class::Link))];
        if !has_scripts(episode) {
            return Some((Kind::Preview, reasons));
        }
        reasons.push(Reason::PageNames(episode.names(Class::Page)));
        return Some((Kind::SharedLink, reasons));
    }
    if episode.has(Class::Portal) && !has_front_page(episode) {
        return Some((Kind::Portal, vec![Reason::PortalNames(episode.names(Class::Portal))]));
    }
    None
}

fn has_front_page(episode: &Episode) -> bool {
    episode.families(Class::Page).any(|family| *family.name == *FRONT)
}

fn has_scripts(episode: &Episode) -> bool {
    episode.families(Class::Page).any(|family| SCRIPTS.contains(&&*family.name))
}

/// Names that the site and an embedded player contact alike.
fn page(episode: &Episode, thresholds: &Thresholds) -> Decided {
    if !episode.has(Class::Page) && !episode.has(Class::Media) {
        return None;
    }
    let mut names = episode.names(Class::Page);
    names.extend(episode.names(Class::Media));
    let mut reasons = vec![Reason::PageNames(names)];
    if episode.is_long_playback(thresholds) {
        reasons.push(Reason::LongPlayback(episode.length_s(), episode.bytes_to_client));
        return Some((Kind::SiteOrPlayer, reasons));
    }
    if has_front_page(episode) && !has_scripts(episode) && episode.flows <= thresholds.preview_flows_max {
        return Some((Kind::Preview, reasons));
    }
    Some((Kind::Player, reasons))
}

/// Pixels in pages and software kits in applications of others.
fn embedded(episode: &Episode) -> Decided {
    if episode.has(Class::Pixel) {
        return Some((Kind::Pixel, vec![Reason::PixelNames(episode.names(Class::Pixel))]));
    }
    episode.has(Class::Sdk).then(|| (Kind::Sdk, vec![Reason::SdkNames(episode.names(Class::Sdk))]))
}

/// Infrastructure of several services; it says nothing beside one of them.
fn shared(episode: &Episode, around: &Around<'_>) -> Decided {
    if around.other_service {
        return None;
    }
    if episode.has(Class::Resolver) {
        return Some((Kind::NativeUnattributed, vec![Reason::Resolver]));
    }
    episode.has(Class::Infra).then(|| (Kind::SharedInfra, vec![Reason::InfraNames(episode.names(Class::Infra))]))
}
