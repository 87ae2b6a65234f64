//! Why a verdict stands, in words that a person can check against the names in the event.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One reason. Lists of names hold those that were kept; more may have been contacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Families of names that only the service's applications contact.
    NativeFamilies(Vec<String>),
    /// Names that the application contacts most of all.
    NativeLikely(Vec<String>),
    /// The name resolver inside the owner's applications was contacted by the same client.
    Resolver,
    /// The service's own interface, contacted with the TLS stack of its applications.
    OwnInterface(Vec<String>),
    /// Names that the desktop program contacts, with the TLS stack of a browser.
    DesktopNames(Vec<String>),
    /// Names of a first start.
    BootNames(Vec<String>),
    /// The same interface was contacted before; seconds between.
    ContactedAgain(String, u64),
    /// All native names were contacted by a current browser.
    CurrentBrowser,
    /// Only one native interface was contacted, once.
    OneInterface(String),
    /// Families that only a use in the foreground contacts.
    ForegroundFamilies(Vec<String>),
    /// Media, bytes.
    Media(u64),
    /// Names that only a person on the site contacts.
    SiteNames(Vec<String>),
    /// A sign-in name, which other sites contact too.
    SignInNames(Vec<String>),
    /// The console of advertisers, sellers or creators.
    ConsoleNames(Vec<String>),
    /// Help, news, jobs or documentation.
    PortalNames(Vec<String>),
    /// A short link.
    LinkNames(Vec<String>),
    /// Names that the site and an embedded player contact alike.
    PageNames(Vec<String>),
    /// A pixel.
    PixelNames(Vec<String>),
    /// A software kit in applications of others.
    SdkNames(Vec<String>),
    /// Infrastructure that several services share.
    InfraNames(Vec<String>),
    /// So much over so long that a player is no better explanation than the site; seconds, bytes.
    LongPlayback(u64, u64),
    /// Other names may hide behind one connection.
    MayHideMore,
    /// A probable first start.
    FirstRun,
    /// Nothing was answered.
    Attempt,
}

impl Reason {
    /// The id that programs know it by. It never changes, whatever becomes of the words.
    pub const fn id(&self) -> &'static str {
        match self {
            Self::NativeFamilies(_) => "native-families",
            Self::NativeLikely(_) => "native-likely",
            Self::Resolver => "resolver",
            Self::OwnInterface(_) => "own-interface",
            Self::DesktopNames(_) => "desktop-names",
            Self::BootNames(_) => "boot-names",
            Self::ContactedAgain(..) => "contacted-again",
            Self::CurrentBrowser => "current-browser",
            Self::OneInterface(_) => "one-interface",
            Self::ForegroundFamilies(_) => "foreground-families",
            Self::Media(_) => "media",
            Self::SiteNames(_) => "site-names",
            Self::SignInNames(_) => "sign-in-names",
            Self::ConsoleNames(_) => "console-names",
            Self::PortalNames(_) => "portal-names",
            Self::LinkNames(_) => "link-names",
            Self::PageNames(_) => "page-names",
            Self::PixelNames(_) => "pixel-names",
            Self::SdkNames(_) => "sdk-names",
            Self::InfraNames(_) => "infra-names",
            Self::LongPlayback(..) => "long-playback",
            Self::MayHideMore => "may-hide-more",
            Self::FirstRun => "first-run",
            Self::Attempt => "attempt",
        }
    }

    /// The names or families that it is about.
    pub fn about(&self) -> &[String] {
        match self {
            Self::NativeFamilies(list)
            | Self::NativeLikely(list)
            | Self::OwnInterface(list)
            | Self::DesktopNames(list)
            | Self::BootNames(list)
            | Self::ForegroundFamilies(list)
            | Self::SiteNames(list)
            | Self::SignInNames(list)
            | Self::ConsoleNames(list)
            | Self::PortalNames(list)
            | Self::LinkNames(list)
            | Self::PageNames(list)
            | Self::PixelNames(list)
            | Self::SdkNames(list)
            | Self::InfraNames(list) => list,
            Self::ContactedAgain(family, _) | Self::OneInterface(family) => std::slice::from_ref(family),
            Self::Resolver
            | Self::CurrentBrowser
            | Self::Media(_)
            | Self::LongPlayback(..)
            | Self::MayHideMore
            | Self::FirstRun
            | Self::Attempt => &[],
        }
    }
}

/// A list in the words of a sentence.
struct List<'l>(&'l [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, item) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(formatter, "{separator}{item}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NativeFamilies(families) => write!(formatter, "native interface families: {}", List(families)),
            Self::NativeLikely(names) => write!(formatter, "names that the app contacts most of all: {}", List(names)),
            Self::Resolver => write!(formatter, "the owner's name resolver for its apps was contacted too"),
            Self::OwnInterface(names) => {
                write!(formatter, "the service's own interface, with the TLS stack of its apps: {}", List(names))
            }
            Self::DesktopNames(names) => {
                write!(formatter, "names of the desktop program, with a browser's TLS stack: {}", List(names))
            }
            Self::BootNames(names) => write!(formatter, "names of a first start: {}", List(names)),
            Self::ContactedAgain(family, apart_s) => {
                write!(formatter, "the same interface family, {family}, was contacted {} before", Duration(*apart_s))
            }
            Self::CurrentBrowser => {
                write!(
                    formatter,
                    "a current browser contacted all native names: a page can load pictures from any host"
                )
            }
            Self::OneInterface(family) => write!(formatter, "only one native interface family, once: {family}"),
            Self::ForegroundFamilies(families) => {
                write!(formatter, "interface families of a use in the foreground: {}", List(families))
            }
            Self::Media(bytes) => write!(formatter, "{} of media", Bytes(*bytes)),
            Self::SiteNames(names) => write!(formatter, "names that only the site uses: {}", List(names)),
            Self::SignInNames(names) => {
                write!(formatter, "only a sign-in name of the site, which other sites load too: {}", List(names))
            }
            Self::ConsoleNames(names) => {
                write!(formatter, "the console of advertisers, sellers or creators: {}", List(names))
            }
            Self::PortalNames(names) => write!(formatter, "help, news or documentation: {}", List(names)),
            Self::LinkNames(names) => write!(formatter, "a short link: {}", List(names)),
            Self::PageNames(names) => {
                write!(formatter, "names that the site and an embedded player contact alike: {}", List(names))
            }
            Self::PixelNames(names) => write!(formatter, "a pixel in pages of others: {}", List(names)),
            Self::SdkNames(names) => write!(formatter, "a software kit in apps of others: {}", List(names)),
            Self::InfraNames(names) => write!(formatter, "infrastructure that several services share: {}", List(names)),
            Self::LongPlayback(seconds, bytes) => {
                write!(formatter, "{} over {}: the site or a player on an open page", Bytes(*bytes), Duration(*seconds))
            }
            Self::MayHideMore => {
                write!(
                    formatter,
                    "these names or more: over one connection, a browser can reach other names of the site (HTTP/2)"
                )
            }
            Self::FirstRun => write!(formatter, "probable first start; the download itself is not visible"),
            Self::Attempt => write!(formatter, "no contact was answered: it was tried, and nothing was exchanged"),
        }
    }
}

/// Bytes for people, in decimal units.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..10_000 => write!(formatter, "{} bytes", self.0),
            10_000..10_000_000 => write!(formatter, "{} kB", self.0 / 1_000),
            _ => write!(formatter, "{} MB", self.0 / 1_000_000),
        }
    }
}

/// Seconds for people.
struct Duration(u64);

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..120 => write!(formatter, "{} s", self.0),
            120..7_200 => write!(formatter, "{} min", self.0 / 60),
            _ => write!(formatter, "{} h", self.0 / 3_600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_sentences() {
        let list = || vec!["api".to_owned(), "tnc".to_owned()];
        for (reason, text) in [
            (Reason::NativeFamilies(list()), "native interface families: api, tnc"),
            (
                Reason::ContactedAgain("api".into(), 3_600),
                "the same interface family, api, was contacted 60 min before",
            ),
            (Reason::Media(9_999), "9999 bytes of media"),
            (Reason::Media(10_000), "10 kB of media"),
            (Reason::Media(9_999_999), "9999 kB of media"),
            (Reason::Media(12_000_000), "12 MB of media"),
            (Reason::ContactedAgain("api".into(), 119), "the same interface family, api, was contacted 119 s before"),
            (Reason::ContactedAgain("api".into(), 7_200), "the same interface family, api, was contacted 2 h before"),
            (Reason::LongPlayback(510, 41_000_000), "41 MB over 8 min: the site or a player on an open page"),
        ] {
            assert_eq!(reason.to_string(), text);
        }
    }

    #[test]
    fn programs_find_what_a_reason_is_about() {
        let list = || vec!["api".to_owned(), "tnc".to_owned()];
        let again = Reason::ContactedAgain("api".into(), 7_200);
        assert_eq!((again.id(), again.about()), ("contacted-again", &list()[..1]));
        let families = Reason::NativeFamilies(list());
        assert_eq!((families.id(), families.about()), ("native-families", &list()[..]));
        assert_eq!((Reason::Media(7).id(), Reason::Media(7).about()), ("media", &[][..]));
    }
}
