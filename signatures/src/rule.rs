//! The words of a signature.

use std::fmt;
use std::str::FromStr;

/// A word of the signature language.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All words, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word as written in files and events.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("\"{word}\" is not one of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What contacting a name means.
    Role {
        /// The app's own interface.
        AppApi = "app-api",
        /// The site in a browser.
        Web = "web",
        /// Media and static files.
        Cdn = "cdn",
        /// Live streams.
        Live = "live",
        /// A pixel or SDK in third-party pages.
        Embed = "embed",
        /// An advertising SDK in other apps.
        AdsSdk = "ads-sdk",
        /// The company itself.
        Corporate = "corporate",
        /// Infrastructure shared by services.
        Infra = "infra",
        /// For developers.
        Dev = "dev",
    }
}

words! {
    /// Who is known to contact a name.
    Signal {
        /// Native apps only; no browser evidence.
        AppOnly = "app-only",
        /// Native apps most of all.
        AppLikely = "app-likely",
        /// The app and the web site alike.
        Shared = "shared",
        /// The app or a browser, playing media.
        AppOrWebPlayback = "app-or-web-playback",
        /// A browser on the site.
        Web = "web",
        /// Pages of third parties.
        Embed = "embed",
        /// Other companies' apps.
        ThirdPartySdk = "sdk-3p",
        /// Customers of a public cloud.
        ThirdPartyCloud = "cloud-3p",
        /// Advertisers, sellers, creators.
        AdsPortal = "ads-portal",
        /// Advertising.
        Ads = "ads",
        /// The company's staff and tests.
        Corporate = "corp",
        /// Only CNAME chains in DNS answers.
        DnsCname = "dns-cname",
        /// Not known.
        Unknown = "-",
    }
}

words! {
    /// How sure it is that the name belongs to the service.
    Confidence {
        /// One source, or a name that only looks like it.
        Low = "low",
        /// One good source.
        Medium = "medium",
        /// The owner's own files, or several independent sources.
        High = "high",
    }
}

words! {
    /// How a rule matches.
    MatchKind {
        /// The whole name.
        Exact = "exact",
        /// A regular expression over the whole name.
        Pattern = "pattern",
        /// The name and everything below it.
        Suffix = "suffix",
        /// An address range.
        Prefix = "prefix",
        /// A JA4 fingerprint.
        Ja4 = "ja4",
    }
}

words! {
    /// What a match says about the device.
    Verdict {
        /// The app is installed or running.
        App = "app",
        /// Someone visited the site.
        Web = "web",
        /// A page or another app embeds it.
        Embed = "embed",
        /// The evidence does not tell.
        Undetermined = "undetermined",
    }
}

/// One line of knowledge: what matches, whose it is, what that proves, and who says so.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Signature id: the service's base plus the signal's place; stable across releases.
    pub signature_id: u32,
    /// Service's key, such as `tiktok`.
    pub service: String,
    /// Service's name for people, such as `TikTok`.
    pub service_name: String,
    /// What contacting it means.
    pub role: Role,
    /// Who contacts it.
    pub signal: Signal,
    /// How sure the ownership is.
    pub confidence: Confidence,
    /// How it matches.
    pub kind: MatchKind,
    /// What matches: a name, a pattern, a prefix, a fingerprint.
    pub text: String,
    /// Autonomous system, for prefixes.
    pub asn: Option<u32>,
    /// Codes of the sources.
    pub sources: Vec<String>,
    /// Day of the last review, `YYYY-MM-DD`.
    pub reviewed: String,
    /// File it stands in.
    pub file: String,
    /// Line in that file, from 1.
    pub line: u32,
}
