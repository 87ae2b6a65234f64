//! What is said about a device and a service: the verdict, its kind, and the reasons.

use serde::{Deserialize, Serialize};

use crate::Reason;

/// What the contacts of a device with a service mean, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A page or another application embeds the service; nobody need have wanted it.
    Embed,
    /// The contacts fit more than one explanation.
    Undetermined,
    /// Someone visited the site.
    Web,
    /// The application is installed or running.
    App,
}

impl Verdict {
    /// The word in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Undetermined => "undetermined",
            Self::Web => "web",
            Self::App => "app",
        }
    }
}

/// Declares the kinds: the weakest of a verdict first.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $Kind:ident = $word:literal, $Verdict:ident, $incident:literal;)+) => {
        /// How a verdict came about. Within a verdict the surer kinds come later.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind { $($(#[doc = $doc])+ $Kind),+ }

        impl Kind {
            /// All kinds, weakest first.
            pub const ALL: &[Self] = &[$(Self::$Kind),+];

            /// The word in events.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Kind => $word),+ }
            }

            /// The verdict that the kind belongs to.
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$Kind => Verdict::$Verdict),+ }
            }

            /// Whether a ban that forbids every use of the service opens an incident.
            pub const fn is_use(self) -> bool {
                match self { $(Self::$Kind => $incident),+ }
            }
        }
    };
}

kinds! {
    /// Only a pixel of the service, on a page of someone else.
    Pixel = "pixel", Embed, false;
    /// Only the service's software kit, inside an application of someone else.
    Sdk = "sdk", Embed, false;
    /// The preview of a link, as a messenger shows it.
    Preview = "preview", Embed, false;
    /// An embedded player or post.
    Player = "player", Embed, false;

    /// Infrastructure that several services of the owner share.
    SharedInfra = "shared-infra", Undetermined, false;
    /// A native program of the owner; which one is not visible.
    NativeUnattributed = "native-unattributed", Undetermined, false;
    /// Much video over a long time: the site, or a player on an open page.
    SiteOrPlayer = "site-or-player", Undetermined, false;
    /// One name of a first start, and nothing else.
    BootOnly = "boot-only", Undetermined, false;
    /// One native interface, once.
    LoneInterface = "lone-interface", Undetermined, false;
    /// Native interfaces, all contacted by a current browser: a page can load pictures from any host.
    BrowserInterfaces = "browser-interfaces", Undetermined, false;

    /// Help, news, jobs or documentation of the service were read.
    Portal = "portal", Web, false;
    /// A sign-in box of the service, on its own: it stands on other sites too.
    SignIn = "sign-in", Web, false;
    /// A shared link was opened, and the page came.
    SharedLink = "shared-link", Web, true;
    /// The console of advertisers, sellers or creators.
    Console = "console", Web, true;
    /// Names that only a person on the site contacts.
    Site = "site", Web, true;

    /// The application is installed: settings, push, reporting.
    Background = "background", App, true;
    /// A desktop program of the service, built on a browser.
    Desktop = "desktop", App, true;
    /// The application is used: search, live, upload, or much media.
    InUse = "in-use", App, true;
}

/// What is said about a client and a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// How the verdict came about; it tells the verdict too.
    pub kind: Kind,
    /// Probably the first start after an installation. The download itself is not visible.
    pub first_run: bool,
    /// No flow was answered: the contacts were tried and failed. `None` where that is not known.
    pub attempt: Option<bool>,
    /// Why, in words.
    pub reasons: Vec<Reason>,
}

impl Judgement {
    /// The verdict.
    pub const fn verdict(&self) -> Verdict {
        self.kind.verdict()
    }

    /// Takes over what is stronger in a judgement of the same client and service: a verdict only rises, and a first
    /// run stays one. True if the kind rose.
    pub fn rise(&mut self, later: Self) -> bool {
        let first_run = self.first_run || later.first_run;
        let rises = later.kind > self.kind;
        if rises {
            *self = later;
        } else if later.kind == self.kind {
            self.attempt = match (self.attempt, later.attempt) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
        }
        self.first_run = first_run;
        rises
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_rise_with_their_verdicts() {
        assert!(Kind::ALL.is_sorted_by(|weaker, surer| weaker < surer && weaker.verdict() <= surer.verdict()));
        assert!(Kind::ALL.iter().all(|kind| !kind.is_use() || kind.verdict() >= Verdict::Web));
    }

    #[test]
    fn a_judgement_only_rises_and_a_first_run_stays() {
        let of = |kind, first_run| Judgement { kind, first_run, attempt: None, reasons: Vec::new() };
        let mut judgement = of(Kind::Background, true);
        assert!(!judgement.rise(of(Kind::Site, false)));
        assert_eq!(judgement, of(Kind::Background, true));
        assert!(judgement.rise(of(Kind::InUse, false)));
        assert!(!judgement.rise(of(Kind::InUse, false)), "the same again is no rise");
        assert_eq!(judgement, of(Kind::InUse, true));
    }

    #[test]
    fn verdicts_have_the_words_of_events() {
        let words = [Verdict::Embed, Verdict::Undetermined, Verdict::Web, Verdict::App].map(Verdict::as_str);
        assert_eq!(words, ["embed", "undetermined", "web", "app"]);
    }

    #[test]
    fn an_attempt_is_one_until_something_is_answered() {
        let of = |attempt| Judgement { kind: Kind::Background, first_run: false, attempt, reasons: Vec::new() };
        for (before, after, expected) in
            [(Some(true), Some(true), Some(true)), (Some(true), Some(false), Some(false)), (Some(true), None, None)]
        {
            let mut judgement = of(before);
            judgement.rise(of(after));
            assert_eq!(judgement.attempt, expected);
        }
    }
}
