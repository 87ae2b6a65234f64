//! The words that signature files use, as types.

/// Makes an enum whose variants are words of the file format.
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

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("\"{word}\" is not one of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;

words! {
    /// What a name serves.
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
        /// Infrastructure that services share.
        Infra = "infra",
        /// For developers.
        Dev = "dev",
    }
}

words! {
    /// Who contacts a name. No single name tells a verdict: the set of classes and families that a client contacts does.
    Class {
        /// The app's own network stack only.
        Native = "native",
        /// The app most of all.
        NativeLikely = "native-likely",
        /// Only a person on the site.
        Site = "site",
        /// The site, and pages of others that embed the service.
        Page = "page",
        /// App, site and embedded player: pictures, videos, live streams.
        Media = "media",
        /// Pages and apps of advertisers.
        Pixel = "pixel",
        /// Other companies' apps, through an SDK.
        Sdk = "sdk",
        /// Advertisers, sellers and creators at work.
        Console = "console",
        /// Readers of help, news, job and developer pages.
        Portal = "portal",
        /// Whoever opens or previews a short link.
        Link = "link",
        /// The owner's native network stack, in an app that is not known.
        Resolver = "resolver",
        /// Several products of the owner, and SDKs in apps of others.
        Infra = "infra",
        /// Customers of a public cloud.
        Cloud = "cloud",
        /// The company's staff and tests.
        Corp = "corp",
        /// Nobody on a flow: the name stands in CNAME chains of DNS answers only.
        Cname = "cname",
    }
}

impl Class {
    /// The family of rules that name none.
    pub const fn default_family(self) -> &'static str {
        match self {
            Self::Native => "api",
            Self::NativeLikely => "other",
            Self::Site => "front",
            class => class.as_str(),
        }
    }
}

words! {
    /// What sets a rule apart from others of its class and family.
    Trait {
        /// The service's main interface: with the app's own TLS stack one hello to it proves the app.
        OwnInterface = "own-interface",
        /// A desktop program contacts it with a browser's TLS stack.
        Desktop = "desktop",
        /// Of family `boot`: the app contacts it at every start, so it says nothing of a first run.
        EveryStart = "every-start",
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
    /// What a contact says about the device.
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
