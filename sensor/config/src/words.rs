//! Settings that are one of a few words.

use std::str::FromStr;

use crate::suggestion::nearest;
use crate::{Definition, Fault, RawValue, toml_text};

/// Declares settings that are one of a few words: the enum, its words, and how it is read.
///
/// ```
/// vigie_config::choices! {
///     /// How the log is written.
///     LogFormat {
///         /// Lines for people.
///         Text = "text",
///         /// One JSON object a line.
///         Json = "json",
///     }
/// }
/// assert_eq!("json".parse(), Ok(LogFormat::Json));
/// assert_eq!("xml".parse::<LogFormat>(), Err("expected text or json".to_owned()));
/// ```
#[macro_export]
macro_rules! choices {
    ($($(#[doc = $doc:literal])+ $Name:ident { $($(#[doc = $variant_doc:literal])+ $Variant:ident = $word:literal,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Name { $($(#[doc = $variant_doc])+ $Variant),+ }

        impl $Name {
            /// All of them, in the order of their words.
            pub const ALL: &[Self] = &[$(Self::$Variant),+];
            /// The words for them.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $word),+ }
            }
        }

        impl ::std::fmt::Display for $Name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $Name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let known = Self::ALL.iter().copied().find(|known| known.as_str() == text);
                known.ok_or_else(|| format!("expected {}", $crate::one_of(Self::WORDS)))
            }
        }

        impl<S> $crate::SettingType<S> for $Name {
            fn description() -> String {
                $crate::one_of(Self::WORDS)
            }

            fn read(value: &$crate::RawValue, setting: &$crate::Definition) -> Result<Self, $crate::Fault> {
                $crate::read_word(value, setting, Self::WORDS)
            }

            fn to_toml(&self) -> String {
                $crate::toml_text(self.as_str())
            }
        }
    )+};
}

/// Lets the settings of a program have enums that other crates declare, with `WORDS`, `Display` and `FromStr`:
/// `word_settings!(Settings: Backend, Fanout);`.
#[macro_export]
macro_rules! word_settings {
    ($Settings:ty: $($Name:ty),+) => {$(
        impl $crate::SettingType<$Settings> for $Name {
            fn description() -> String {
                $crate::one_of(Self::WORDS)
            }

            fn read(value: &$crate::RawValue, setting: &$crate::Definition) -> Result<Self, $crate::Fault> {
                $crate::read_word(value, setting, Self::WORDS)
            }

            fn to_toml(&self) -> String {
                $crate::toml_text(&self.to_string())
            }
        }
    )+};
}

/// Reads a value that is one of these words.
///
/// # Errors
/// It is none of them.
pub fn read_word<T: FromStr>(value: &RawValue, setting: &Definition, words: &[&str]) -> Result<T, Fault> {
    let text = value.as_text().unwrap_or_default();
    text.parse().map_err(|_| {
        let mend = match nearest(text, words.iter().copied()) {
            Some(word) => format!("did you mean {}?", toml_text(word)),
            None => setting.usual(),
        };
        Fault::new(format!("expected {}", one_of(words)), mend)
    })
}

/// `a, b or c`.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}
