//! The types that settings have: the only place where values are read.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::raw_value::toml_list;
use crate::{Definition, Fault, RawValue, Rule, toml_text};

/// A type that settings of the program `S` have. The parameter lets a program implement this trait for types of other
/// crates ([`word_settings!`](crate::word_settings)); the types here are for any program.
pub trait SettingType<S>: Sized {
    /// The type in words, such as `whole number`.
    fn description() -> String;

    /// Reads a value for a setting.
    ///
    /// # Errors
    /// The value is not of the type, or breaks the setting's rule.
    fn read(value: &RawValue, setting: &Definition) -> Result<Self, Fault>;

    /// The value as it would be written in a file.
    fn to_toml(&self) -> String;
}

impl<S> SettingType<S> for bool {
    fn description() -> String {
        "true or false".to_owned()
    }

    fn read(value: &RawValue, _: &Definition) -> Result<Self, Fault> {
        let mend = match value {
            RawValue::Bool(truth) => return Ok(*truth),
            RawValue::Unquoted(word) if word == "true" => return Ok(true),
            RawValue::Unquoted(word) if word == "false" => return Ok(false),
            other => match other.to_toml().trim_matches('"').to_lowercase().as_str() {
                "yes" | "on" | "1" | "true" => "write true",
                "no" | "off" | "0" | "false" => "write false",
                _ => "write true or false, without quotation marks",
            },
        };
        Err(Fault::new("expected true or false", mend))
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl<S> SettingType<S> for String {
    fn description() -> String {
        "text".to_owned()
    }

    fn read(value: &RawValue, setting: &Definition) -> Result<Self, Fault> {
        let Some(text) = value.as_text() else {
            return Err(match value {
                RawValue::List(_) => Fault::new("expected text, not a list", setting.usual()),
                other => Fault::new("expected text", format!("write {}", toml_text(&other.to_toml()))),
            });
        };
        match setting.rule {
            Rule::Text(_, rule) => rule(text).map_err(|(what, mend)| Fault::new(what, mend))?,
            Rule::Any | Rule::Range(..) => {}
        }
        Ok(text.to_owned())
    }

    fn to_toml(&self) -> String {
        toml_text(self)
    }
}

impl<S> SettingType<S> for PathBuf {
    fn description() -> String {
        "path".to_owned()
    }

    fn read(value: &RawValue, setting: &Definition) -> Result<Self, Fault> {
        <String as SettingType<S>>::read(value, setting).map(Self::from)
    }

    fn to_toml(&self) -> String {
        toml_text(&self.to_string_lossy())
    }
}

impl<S> SettingType<S> for SocketAddr {
    fn description() -> String {
        "address:port".to_owned()
    }

    fn read(value: &RawValue, setting: &Definition) -> Result<Self, Fault> {
        let text = value.as_text().unwrap_or_default();
        text.parse().map_err(|_| {
            let what = "expected an address and a port";
            let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
            let host = match host {
                "localhost" => "127.0.0.1",
                "" | "*" => "0.0.0.0",
                host => host,
            };
            match format!("{host}:{port}").parse::<Self>() {
                Ok(address) => Fault::new(what, format!("write {}", toml_text(&address.to_string()))),
                Err(_) => Fault::new(what, setting.usual()),
            }
        })
    }

    fn to_toml(&self) -> String {
        toml_text(&self.to_string())
    }
}

/// Empty text means none, so that a later layer can undo what an earlier one set.
impl<S, T: SettingType<S>> SettingType<S> for Option<T> {
    fn description() -> String {
        T::description()
    }

    fn read(value: &RawValue, setting: &Definition) -> Result<Self, Fault> {
        match value.as_text() {
            Some("") => Ok(None),
            _ => T::read(value, setting).map(Some),
        }
    }

    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| toml_text(""), T::to_toml)
    }
}

impl<S, T: SettingType<S>> SettingType<S> for Vec<T> {
    fn description() -> String {
        format!("list of: {}", T::description())
    }

    fn read(value: &RawValue, setting: &Definition) -> Result<Self, Fault> {
        let Some(items) = value.items() else {
            let mend = match value {
                RawValue::Unquoted(_) => "write items separated by commas".to_owned(),
                other => format!("write [{}]", other.to_toml()),
            };
            return Err(Fault::new("expected a list", mend));
        };
        items
            .iter()
            .map(|item| {
                T::read(item, setting)
                    .map_err(|fault| Fault::new(format!("item {}: {}", item.shown(), fault.what), fault.mend))
            })
            .collect()
    }

    fn to_toml(&self) -> String {
        toml_list(self.iter().map(T::to_toml))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Mode};

    fn unquoted<T: SettingType<()>>(text: &str) -> Result<T, Fault> {
        read(&RawValue::Unquoted(text.to_owned()))
    }

    fn read<T: SettingType<()>>(value: &RawValue) -> Result<T, Fault> {
        let definition = Definition {
            section: "example",
            name: "x",
            key: "example.x",
            description: T::description(),
            documentation: "",
            rule: Rule::Any,
            change: Change::Live,
            default: "1".to_owned(),
        };
        T::read(value, &definition)
    }

    #[test]
    fn unquoted_characters_are_of_the_type_of_the_setting() {
        assert_eq!(unquoted::<usize>("1_000").unwrap(), 1000);
        assert!(unquoted::<bool>("true").unwrap());
        assert_eq!(unquoted::<Vec<String>>("eth0, eth1,").unwrap(), ["eth0", "eth1"]);
        assert_eq!(unquoted::<Vec<String>>("[\"eth0\", 'a,b']").unwrap(), ["eth0", "a,b"]);
        assert_eq!(unquoted::<Vec<usize>>("[3, 4]").unwrap(), [3, 4]);
        assert!(unquoted::<Vec<usize>>("[3, 4").is_err());
        assert!(unquoted::<Vec<usize>>("").unwrap().is_empty());
        assert_eq!(unquoted::<Option<String>>("").unwrap(), None);
        assert_eq!(unquoted::<Mode>("600").unwrap(), Mode(0o600));
        assert_eq!(read::<Mode>(&RawValue::Number(0o640, 8, "0o640".into())).unwrap(), Mode(0o640));
    }
}
