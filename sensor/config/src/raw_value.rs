//! A value as it was written, before its type is known.

use toml::de::{DeTable, DeValue};

use crate::finding::one_line;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawValue {
    /// Text in quotation marks.
    Text(String),
    /// A whole number, its base, and how it was written.
    Number(i128, u32, String),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    List(Vec<Self>),
    /// Characters without quotation marks, from the environment or the command line: of any type.
    Unquoted(String),
    /// A value of a type that no setting has, as it was written.
    Other(String),
}

impl RawValue {
    pub(crate) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                match i128::from_str_radix(&digits, number.radix()) {
                    Ok(value) => Self::Number(value, number.radix(), number.to_string()),
                    Err(_) => Self::Other(number.to_string()),
                }
            }
            DeValue::Float(number) => Self::Other(number.as_str().to_owned()),
            DeValue::Boolean(truth) => Self::Bool(*truth),
            DeValue::Datetime(time) => Self::Other(time.to_string()),
            DeValue::Array(items) => Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect()),
            DeValue::Table(_) => Self::Other(String::new()),
        }
    }

    /// The characters, if it can be text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Unquoted(text) => Some(text),
            _ => None,
        }
    }

    /// As an error shows it: in one line, not too long.
    pub fn shown(&self) -> String {
        one_line(&self.to_toml())
    }

    /// As it was written, in TOML unless it was not quoted.
    pub fn to_toml(&self) -> String {
        match self {
            Self::Text(text) => toml_text(text),
            Self::Number(_, _, written) | Self::Other(written) | Self::Unquoted(written) => written.clone(),
            Self::Bool(truth) => truth.to_string(),
            Self::List(items) => toml_list(items.iter().map(Self::to_toml)),
        }
    }

    /// The items of a list. Unquoted characters are a list in TOML's brackets, or items separated by commas.
    pub(crate) fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.clone()),
            Self::Unquoted(word) if word.trim_start().starts_with('[') => {
                let text = format!("list = {word}");
                let table = DeTable::parse(&text).ok()?;
                match table.get_ref().get("list").map(|value| Self::from_toml(value.get_ref())) {
                    Some(Self::List(items)) => Some(items),
                    _ => None,
                }
            }
            Self::Unquoted(word) => {
                let items = word.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(items.map(|item| Self::Unquoted(item.to_owned())).collect())
            }
            _ => None,
        }
    }
}

/// Text in TOML's quotation marks.
pub fn toml_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", control as u32)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

pub(crate) fn toml_list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_read_back_unchanged() {
        for text in ["", "plain", "a \"b\" \\c", "tab\tline\n\u{1b}é\u{7f}"] {
            let document = format!("x = {}", toml_text(text));
            let table = DeTable::parse(&document).unwrap();
            let value = table.get_ref().get("x").unwrap();
            assert_eq!(RawValue::from_toml(value.get_ref()), RawValue::Text(text.to_owned()));
        }
    }
}
