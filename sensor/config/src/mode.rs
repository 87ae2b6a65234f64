//! Permissions of a file as a setting.

use crate::{Definition, Fault, RawValue, SettingType, toml_text};

/// Permissions of a file that the program writes, as chmod(1) takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl<S> SettingType<S> for Mode {
    fn description() -> String {
        "octal permissions".to_owned()
    }

    fn read(value: &RawValue, setting: &Definition) -> Result<Self, Fault> {
        let bits = match value {
            RawValue::Text(text) | RawValue::Unquoted(text) => {
                u32::from_str_radix(text.trim_start_matches("0o"), 8).ok()
            }
            RawValue::Number(bits, 8, _) => u32::try_from(*bits).ok(),
            // TOML reads 640 without quotation marks as the decimal number, which is 0o1200: nobody means that.
            RawValue::Number(_, _, written) if u32::from_str_radix(written, 8).is_ok_and(|bits| bits <= 0o777) => {
                let mend = format!("write {}", toml_text(&format!("{written:0>4}")));
                return Err(Fault::new("expected octal permissions in quotation marks", mend));
            }
            _ => None,
        };
        match bits {
            Some(bits) if bits > 0o777 => Err(Fault::new("expected permissions up to 0777", setting.usual())),
            Some(bits) if bits & 0o200 == 0 => Err(Fault::new("the owner could not write the file", setting.usual())),
            Some(bits) => Ok(Self(bits)),
            None => Err(Fault::new("expected octal permissions", setting.usual())),
        }
    }

    fn to_toml(&self) -> String {
        toml_text(&format!("{:04o}", self.0))
    }
}
