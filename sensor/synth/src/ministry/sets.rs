//! Sets of names that one use of a service contacts, drawn by chance from the families of the signature files.

use std::sync::Arc;

use regex_syntax::hir::Hir;
use vigie_signatures::{Bundle, Class, Confidence, MatchKind, Name, Rule, Trait, normalise};

use super::{NameSet, Use, generate};
use crate::random::Random;

/// Category of services that others of an owner share: nobody uses them.
const SHARED_CATEGORY: &str = "infrastructure";
/// Family of names that an application contacts when it starts for the first time.
const BOOT: &str = "boot";
/// Family of sign-in names, which stand in pages of others too.
const LOGIN: &str = "login";
/// Services of which half of all uses are.
const MAIN_SERVICE: &str = "tiktok";
/// Draws of a name before its rule is given up: another rule may answer for what its pattern gives.
const TRIES_MAX: usize = 16;

/// A rule that names can be drawn from.
#[derive(Debug)]
struct Source {
    rule: Arc<Rule>,
    /// The pattern; none where the rule's text is the name.
    pattern: Option<Hir>,
}

/// The services of the signature files, and the names that they have.
#[derive(Debug)]
pub(super) struct Catalogue {
    bundle: Arc<Bundle>,
    services: Vec<(String, Vec<Source>)>,
    /// Services of which an application can be drawn, and those of which a site can.
    with_app: Vec<String>,
    with_site: Vec<String>,
}

impl Catalogue {
    pub(super) fn new(bundle: Arc<Bundle>) -> Self {
        let mut services: Vec<(String, Vec<Source>)> = Vec::new();
        for service in bundle.services() {
            if service.enabled && service.category != SHARED_CATEGORY {
                services.push((service.key.clone(), Vec::new()));
            }
        }
        for rule in bundle.rules() {
            let Some((_, sources)) = services.iter_mut().find(|(key, _)| *key == rule.service) else { continue };
            let pattern = match rule.kind {
                MatchKind::Exact | MatchKind::Suffix => None,
                MatchKind::Pattern => generate::parse(&rule.text),
                MatchKind::Prefix | MatchKind::Ja4 => continue,
            };
            if !rule.is_silent() && rule.confidence > Confidence::Low {
                sources.push(Source { rule: Arc::clone(rule), pattern });
            }
        }
        let mut catalogue = Self { bundle, services, with_app: Vec::new(), with_site: Vec::new() };
        let of = |can: &dyn Fn(&str) -> bool| {
            let keys = catalogue.services.iter().map(|(key, _)| key);
            keys.filter(|key| can(key)).cloned().collect::<Vec<String>>()
        };
        let with_app = of(&|key| !catalogue.app_variants(key).is_empty());
        let with_site = of(&|key| !catalogue.site_families(key).is_empty());
        (catalogue.with_app, catalogue.with_site) = (with_app, with_site);
        catalogue
    }

    /// The services of which an application or a site can be drawn.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.with_app.iter().chain(&self.with_site).map(String::as_str)
    }

    /// Whether the signatures know a service.
    pub(super) fn knows(&self, service: &str) -> bool {
        self.bundle.service(service).is_some()
    }

    /// The rule for a name as it is sent.
    pub(super) fn rule(&self, name: &str) -> Option<&Rule> {
        let mut buffer = [0; 256];
        let Name::Host(host) = normalise(name.as_bytes(), &mut buffer) else { return None };
        self.bundle.name(host).map(|rule| &**rule).filter(|rule| !rule.is_silent())
    }

    /// The service that a name counts for; none where it counts for nobody's use.
    pub(super) fn service_of(&self, name: &str) -> Option<&str> {
        let rule = self.rule(name)?;
        let is_nobodys = matches!(
            rule.class,
            Class::Infra | Class::Resolver | Class::Cloud | Class::Corp | Class::Cname | Class::Portal
        );
        let service = self.bundle.service(&rule.service).filter(|service| service.category != SHARED_CATEGORY);
        service.filter(|_| !is_nobodys).map(|service| service.key.as_str())
    }

    /// A set of some kind, of the service if one is given.
    pub(super) fn draw(&self, of: Use, service: Option<&str>, random: &mut Random) -> NameSet {
        let service = service.map_or_else(|| self.draw_service(of, random), String::from);
        let names = match of {
            Use::App => self.app(&service, random),
            Use::Web => self.web(&service, random),
            Use::Embed => self.embed(random),
        };
        NameSet { truth: of, service: (of != Use::Embed).then_some(service), names }
    }

    /// A service of which a use can be drawn.
    pub(super) fn draw_service(&self, of: Use, random: &mut Random) -> String {
        let services = if of == Use::App { &self.with_app } else { &self.with_site };
        let main = services.iter().find(|key| **key == *MAIN_SERVICE).filter(|_| random.once_in(2));
        main.or_else(|| random.choose(services)).cloned().unwrap_or_default()
    }

    /// Names that prove the application, with others that it contacts too.
    fn app(&self, service: &str, random: &mut Random) -> Vec<String> {
        let variants = self.app_variants(service);
        // Several interfaces are the rule.
        let first = variants.first().copied().filter(|_| !random.once_in(3));
        let variant = first.or_else(|| random.choose(&variants).copied());
        let mut names = Names::default();
        match variant {
            Some(AppVariant::Interfaces) => {
                let families = self.interface_families(service);
                let wanted = random.within(2..6);
                for family in drawn(families, wanted, random) {
                    names.add(self.name(service, random, |rule| is_interface(rule) && rule.family == family));
                }
            }
            Some(AppVariant::InterfaceAndLikely) => {
                names.add(self.name(service, random, is_interface));
                names.add(self.name(service, random, |rule| rule.class == Class::NativeLikely));
            }
            Some(AppVariant::FirstStart) => {
                let wanted = random.within(2..7);
                let mut tries = 0;
                while names.0.len() < wanted && tries < TRIES_MAX {
                    names.add(self.name(service, random, is_first_start));
                    tries += 1;
                }
            }
            None => {}
        }
        for class in [Class::NativeLikely, Class::Media, Class::Media, Class::Page] {
            if random.once_in(3) {
                names.add(self.name(service, random, |rule| rule.class == class));
            }
        }
        names.in_any_order(random)
    }

    /// Names of a person on the site, or at a console.
    fn web(&self, service: &str, random: &mut Random) -> Vec<String> {
        let mut names = Names::default();
        let families = self.site_families(service);
        for family in drawn(families, random.within(1..4), random) {
            names.add(self.name(service, random, |rule| is_site(rule) && rule.family == family));
        }
        for class in [Class::Page, Class::Page, Class::Page, Class::Media, Class::Media, Class::Pixel] {
            if random.once_in(2) {
                names.add(self.name(service, random, |rule| rule.class == class));
            }
        }
        names.in_any_order(random)
    }

    /// Names that a page of somebody else contacts: pixels of several services, or a player.
    fn embed(&self, random: &mut Random) -> Vec<String> {
        let mut names = Names::default();
        let with = |class: Class| -> Vec<&str> {
            let has = |sources: &[Source]| sources.iter().any(|source| source.rule.class == class);
            self.services.iter().filter(|(_, sources)| has(sources)).map(|(key, _)| key.as_str()).collect()
        };
        for service in drawn(with(Class::Pixel), random.within(1..4), random) {
            names.add(self.name(service, random, |rule| rule.class == Class::Pixel));
        }
        if random.once_in(2) {
            for service in drawn(with(Class::Page), 1, random) {
                for _ in 0..random.within(1..7) {
                    names.add(self.name(service, random, |rule| rule.class == Class::Page));
                }
                for _ in 0..random.within(0..3) {
                    names.add(self.name(service, random, |rule| rule.class == Class::Media));
                }
            }
        }
        names.in_any_order(random)
    }

    /// The ways in which names of a service can prove its application.
    fn app_variants(&self, service: &str) -> Vec<AppVariant> {
        let interfaces = self.interface_families(service).len();
        let has = |wanted: fn(&Rule) -> bool| self.sources(service).iter().any(|source| wanted(&source.rule));
        let is_likely = |rule: &Rule| rule.class == Class::NativeLikely;
        let many_boot = |source: &&Source| is_first_start(&source.rule);
        let first_starts: Vec<&Source> = self.sources(service).iter().filter(many_boot).collect();
        let has_first_start = first_starts.len() > 1 || first_starts.iter().any(|source| source.pattern.is_some());
        let mut variants = Vec::new();
        variants.extend((interfaces >= 2).then_some(AppVariant::Interfaces));
        variants.extend((interfaces >= 1 && has(is_likely)).then_some(AppVariant::InterfaceAndLikely));
        variants.extend(has_first_start.then_some(AppVariant::FirstStart));
        variants
    }

    fn interface_families(&self, service: &str) -> Vec<&str> {
        self.families(service, is_interface)
    }

    fn site_families(&self, service: &str) -> Vec<&str> {
        self.families(service, is_site)
    }

    /// The families of the rules that are wanted.
    fn families(&self, service: &str, wanted: fn(&Rule) -> bool) -> Vec<&str> {
        let rules = self.sources(service).iter().map(|source| &*source.rule);
        let mut families: Vec<&str> = rules.filter(|rule| wanted(rule)).map(|rule| rule.family.as_str()).collect();
        families.sort_unstable();
        families.dedup();
        families
    }

    fn sources(&self, service: &str) -> &[Source] {
        let found = self.services.iter().find(|(key, _)| *key == *service);
        found.map(|(_, sources)| sources.as_slice()).unwrap_or_default()
    }

    /// A name for which a wanted rule answers; none if there is none, or if other rules answer for all that was drawn.
    fn name(&self, service: &str, random: &mut Random, wanted: impl Fn(&Rule) -> bool) -> Option<String> {
        let sources: Vec<&Source> = self.sources(service).iter().filter(|source| wanted(&source.rule)).collect();
        for _ in 0..TRIES_MAX {
            let source = random.choose(&sources)?;
            let name = match &source.pattern {
                Some(pattern) => generate::text(pattern, random),
                None => source.rule.text.clone(),
            };
            let answers = self.rule(&name);
            if answers.is_some_and(|rule| rule.service == service && wanted(rule)) {
                return Some(name);
            }
        }
        None
    }
}

/// How names prove an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AppVariant {
    /// Two families of its interface or more.
    Interfaces,
    /// One, and a name that the application contacts most of all.
    InterfaceAndLikely,
    /// Names of a first start.
    FirstStart,
}

/// Different names.
#[derive(Debug, Default)]
struct Names(Vec<String>);

impl Names {
    fn add(&mut self, name: Option<String>) {
        self.0.extend(name.filter(|name| !self.0.contains(name)));
    }

    fn in_any_order(mut self, random: &mut Random) -> Vec<String> {
        random.shuffle(&mut self.0);
        self.0
    }
}

/// Some of the items, in any order.
fn drawn<'i>(mut items: Vec<&'i str>, count: usize, random: &mut Random) -> Vec<&'i str> {
    random.shuffle(&mut items);
    items.truncate(count);
    items
}

fn is_first_start(rule: &Rule) -> bool {
    rule.class == Class::Native && rule.family == BOOT && !rule.has(Trait::EveryStart)
}

fn is_interface(rule: &Rule) -> bool {
    rule.class == Class::Native && !is_first_start(rule)
}

fn is_site(rule: &Rule) -> bool {
    rule.class == Class::Console || (rule.class == Class::Site && rule.family != LOGIN)
}

/// Whether names of a set show a person on the site, and not only at a sign-in box or a page of help.
pub(super) fn shows_visit(rules: &[&Rule]) -> bool {
    let is_weak = |rule: &&Rule| rule.class == Class::Portal || (rule.class == Class::Site && rule.family == LOGIN);
    let is_strong = |rule: &&Rule| is_site(rule) || rule.class == Class::Link;
    rules.iter().any(is_strong) || !rules.iter().any(is_weak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_their_kind_contacts() {
        let catalogue = Catalogue::new(Bundle::builtin());
        let mut random = Random::new(11);
        let mut services = std::collections::BTreeSet::new();
        for _ in 0..600 {
            let app = catalogue.draw(Use::App, None, &mut random);
            let of_app: Vec<Class> = app.names.iter().map(|name| catalogue.rule(name).unwrap().class).collect();
            let native = of_app.iter().filter(|class| matches!(class, Class::Native | Class::NativeLikely)).count();
            assert!(native >= 2, "{app:?}");
            let web = catalogue.draw(Use::Web, None, &mut random);
            assert!(web.names.iter().any(|name| is_site(catalogue.rule(name).unwrap())), "{web:?}");
            services.extend([app.service.unwrap(), web.service.unwrap()]);
            let embed = catalogue.draw(Use::Embed, None, &mut random);
            let is_embed = |name: &String| {
                matches!(catalogue.rule(name).unwrap().class, Class::Pixel | Class::Page | Class::Media)
            };
            assert!(!embed.names.is_empty() && embed.names.iter().all(is_embed), "{embed:?}");
        }
        assert!(services.len() > 15, "{services:?}");
    }
}
