//! The table of settings: one entry makes the field, its type, default, rule and documentation, and says whether it may
//! change while the program runs. The known keys, the default file, the reference and the handling of reloads are all
//! derived from it.

use crate::{Fault, RawValue, Rule};

/// When a changed setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// On reload, while the program runs.
    Live,
    /// At the next start.
    Restart,
}

/// A setting, as the table defines it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its section.
    pub section: &'static str,
    /// Its name within the section.
    pub name: &'static str,
    /// `section.name`.
    pub key: &'static str,
    /// Its type in words.
    pub description: String,
    /// What it means.
    pub documentation: &'static str,
    /// What a value must be besides its type.
    pub rule: Rule,
    /// When a change takes effect.
    pub change: Change,
    /// Its default, as it would be written in a file.
    pub default: String,
}

impl Definition {
    /// Type and range in words.
    pub fn range(&self) -> String {
        match self.rule {
            Rule::Range(least, most) => format!("{} from {least} to {most}", self.description),
            Rule::Text(what, _) => format!("{}, {what}", self.description),
            Rule::Any => self.description.clone(),
        }
    }

    /// The usual end of an error: the default.
    pub fn usual(&self) -> String {
        format!("the default is {}", self.default)
    }
}

/// The settings of one section; made by [`settings!`](crate::settings).
pub trait Section {
    /// Sets a setting of the section.
    ///
    /// # Errors
    /// The value is not valid for it.
    fn set(&mut self, definition: &Definition, value: &RawValue) -> Result<(), Fault>;

    /// Copies the setting of that name.
    fn copy(&mut self, name: &str, from: &Self);

    /// The setting of that name as it would be written in a file.
    fn to_toml(&self, name: &str) -> String;
}

/// All settings of a program; made by [`settings!`](crate::settings).
pub trait Table: Clone + Sized + 'static {
    /// Sections with what they are about, in the order of the file.
    const SECTIONS: &'static [(&'static str, &'static str)];

    /// All settings, in the order of the file.
    fn definitions() -> &'static [Definition];

    /// The defaults as the table has them; those that depend on the machine are not resolved.
    fn table_defaults() -> Self;

    /// Sets a setting.
    ///
    /// # Errors
    /// The value is not valid for it.
    fn set(&mut self, definition: &Definition, value: &RawValue) -> Result<(), Fault>;

    /// Copies a setting.
    fn copy(&mut self, definition: &Definition, from: &Self);

    /// A setting as it would be written in a file.
    fn to_toml(&self, definition: &Definition) -> String;

    /// The setting of that name.
    fn definition(section: &str, name: &str) -> Option<&'static Definition> {
        Self::definitions().iter().find(|definition| definition.section == section && definition.name == name)
    }

    /// What differs in `new`, and when it takes effect.
    fn changes(&self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        for definition in Self::definitions() {
            if self.to_toml(definition) != new.to_toml(definition) {
                match definition.change {
                    Change::Live => changes.live.push(definition.key),
                    Change::Restart => changes.restart.push(definition.key),
                }
            }
        }
        changes
    }

    /// These settings, with those that may change live taken from `new`: what applies after a reload.
    #[must_use]
    fn with_live_changes(&self, new: &Self) -> Self {
        let mut settings = self.clone();
        for definition in Self::definitions().iter().filter(|definition| definition.change == Change::Live) {
            settings.copy(definition, new);
        }
        settings
    }
}

/// The keys whose values differ between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that take effect on reload.
    pub live: Vec<&'static str>,
    /// Those that take effect at the next start.
    pub restart: Vec<&'static str>,
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

/// Declares the settings of a program: a struct of sections, a struct for each section, and their [`Table`].
///
/// An entry is `name: Type = default, rule, change;` below its documentation, which is a whole sentence; see the example
/// of the crate. A type of a setting implements [`SettingType`](crate::SettingType).
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $settings_doc:literal])+
        $Settings:ident;

        $($(#[doc = $section_doc:literal])+ $section:ident: $Section:ident {
            $($(#[doc = $doc:literal])+ $name:ident: $Type:ty = $default:expr, $rule:expr, $change:ident;)+
        })+
    ) => {
        $(#[doc = $settings_doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $Settings { $($(#[doc = $section_doc])+ pub $section: $Section,)+ }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $Section { $($(#[doc = $doc])+ pub $name: $Type,)+ }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $($name: $default),+ }
                }
            }

            impl $crate::Section for $Section {
                fn set(
                    &mut self,
                    definition: &$crate::Definition,
                    value: &$crate::RawValue,
                ) -> Result<(), $crate::Fault> {
                    match definition.name {
                        $(stringify!($name) => {
                            self.$name = <$Type as $crate::SettingType<$Settings>>::read(value, definition)?;
                        })+
                        _ => return Err($crate::Fault::new("unknown key", "remove it")),
                    }
                    Ok(())
                }

                fn copy(&mut self, name: &str, from: &Self) {
                    match name {
                        $(stringify!($name) => self.$name.clone_from(&from.$name),)+
                        _ => {}
                    }
                }

                fn to_toml(&self, name: &str) -> String {
                    match name {
                        $(stringify!($name) => $crate::SettingType::<$Settings>::to_toml(&self.$name),)+
                        _ => String::new(),
                    }
                }
            }
        )+

        impl $crate::Table for $Settings {
            const SECTIONS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($section), concat!($($section_doc),+).trim_ascii())),+];

            fn definitions() -> &'static [$crate::Definition] {
                static DEFINITIONS: ::std::sync::LazyLock<Vec<$crate::Definition>> = ::std::sync::LazyLock::new(|| {
                    let defaults = <$Settings as $crate::Table>::table_defaults();
                    vec![$($($crate::Definition {
                        section: stringify!($section),
                        name: stringify!($name),
                        key: concat!(stringify!($section), ".", stringify!($name)),
                        description: <$Type as $crate::SettingType<$Settings>>::description(),
                        documentation: concat!($($doc),+).trim_ascii(),
                        rule: $rule,
                        change: $crate::Change::$change,
                        default: $crate::SettingType::<$Settings>::to_toml(&defaults.$section.$name),
                    },)+)+]
                });
                &DEFINITIONS
            }

            fn table_defaults() -> Self {
                Self { $($section: $Section::default()),+ }
            }

            fn set(
                &mut self,
                definition: &$crate::Definition,
                value: &$crate::RawValue,
            ) -> Result<(), $crate::Fault> {
                match definition.section {
                    $(stringify!($section) => $crate::Section::set(&mut self.$section, definition, value),)+
                    _ => Err($crate::Fault::new("unknown section", "remove it")),
                }
            }

            fn copy(&mut self, definition: &$crate::Definition, from: &Self) {
                match definition.section {
                    $(stringify!($section) => {
                        $crate::Section::copy(&mut self.$section, definition.name, &from.$section);
                    })+
                    _ => {}
                }
            }

            fn to_toml(&self, definition: &$crate::Definition) -> String {
                match definition.section {
                    $(stringify!($section) => $crate::Section::to_toml(&self.$section, definition.name),)+
                    _ => String::new(),
                }
            }
        }
    };
}
