//! The rules: from the set of families of an episode to a verdict. They stand in the order in which they are asked; the
//! first that fits answers.

use vigie_signatures::Class;

use crate::{Around, Episode, Judgement, Kind, Reason, Thresholds};

/// Family of sign-in names, which stand in pages of others too.
const LOGIN: &str = "login";
/// Family of a site's front page.
const FRONT: &str = "front";
/// Families of scripts that a page of the service loads.
const SCRIPTS: [&str; 4] = ["ttwstatic", "webmssdk", "libraweb", "mcs"];
/// Families that only a use in the foreground contacts.
const FOREGROUND: [&str; 3] = ["search", "webcast", "upload"];

/// What the episode says of its client and service; `None` where it says nothing of its own.
pub fn decide(episode: &Episode, around: &Around<'_>, thresholds: &Thresholds) -> Option<Judgement> {
    if !episode.says_something() && !episode.has(Class::Infra) {
        return None;
    }
    let (kind, mut reasons) = native(episode, around, thresholds)
        .or_else(|| site(episode))
        .or_else(|| page(episode, thresholds))
        .or_else(|| embedded(episode))
        .or_else(|| shared(episode, around))?;
    let has_own_boot = episode.families(Class::Native).any(|family| family.is_first_start);
    let first_run = kind.verdict() == crate::Verdict::App && (has_own_boot || around.other_boot);
    if first_run {
        reasons.push(Reason::FirstRun);
    }
    let attempt = episode.attempt();
    if attempt == Some(true) {
        reasons.push(Reason::Attempt);
    }
    Some(Judgement { kind, first_run, attempt, reasons })
}

/// Whether the verdict rests on names of a first start alone, which may yet turn out to be another service's.
pub fn rests_on_first_start(episode: &Episode) -> bool {
    let mut native = episode.families(Class::Native).peekable();
    native.peek().is_some() && native.all(|family| family.is_first_start)
}

/// The one native family of an episode that has no other.
pub fn lone_native(episode: &Episode) -> Option<&str> {
    let mut native = episode.families(Class::Native).filter(|family| !family.is_first_start);
    let lone = native.next()?;
    native.next().is_none().then_some(&*lone.name)
}

type Decided = Option<(Kind, Vec<Reason>)>;

/// The application: names that its own stack contacts.
fn native(episode: &Episode, around: &Around<'_>, thresholds: &Thresholds) -> Decided {
    let families: Vec<String> = episode
        .families(Class::Native)
        .filter(|family| !family.is_first_start)
        .map(|family| String::from(&*family.name))
        .collect();
    let boot_names: Vec<String> = episode
        .families(Class::Native)
        .filter(|family| family.is_first_start)
        .flat_map(|family| &family.names)
        .map(|name| String::from(&**name))
        .collect();
    let likely = episode.names(Class::NativeLikely);
    if families.is_empty() && likely.is_empty() && (boot_names.is_empty() || around.other_native) {
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
    let own_interface = episode.own_interface();
    if !own_interface.is_empty() {
        proof.push(Reason::OwnInterface(own_interface));
    }
    // Beside another service's native names these are that service's.
    if boot_names.len() >= 2 && !(families.is_empty() && around.other_native) {
        proof.push(Reason::BootNames(boot_names.to_vec()));
    }
    proof
}

fn application(episode: &Episode, thresholds: &Thresholds, mut reasons: Vec<Reason>) -> (Kind, Vec<Reason>) {
    if episode.is_browser() && episode.has_desktop_name() {
        return (Kind::Desktop, reasons);
    }
    let in_foreground = |class| episode.families(class).filter(|family| FOREGROUND.contains(&&*family.name));
    let foreground: Vec<String> = in_foreground(Class::Native)
        .chain(in_foreground(Class::NativeLikely))
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
    if has_front_page(episode) && !has_scripts(episode) && episode.flows <= thresholds.preview_flows_max {
        return Some((Kind::Preview, reasons));
    }
    let (length_s, bytes) = (episode.length_s(), episode.bytes_to_client);
    if length_s > thresholds.player_length_s && bytes > thresholds.player_bytes {
        reasons.push(Reason::LongPlayback(length_s, bytes));
        return Some((Kind::SiteOrPlayer, reasons));
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
