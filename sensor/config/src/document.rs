//! The settings as a default file and as a page of documentation, both made from the table.

use crate::{Change, Definition, Schema};

/// Columns of the default file's comments.
const COLUMNS: usize = 100;

/// The first lines of the default file.
fn header<S: Schema>() -> String {
    let program = S::PROGRAM;
    let (name, (key, value)) = (program.name, program.example);
    let variable = program.variable(key);
    format!(
        "The settings of {name}. Each is given here at its default, commented out: remove the # to change it. Later \
         layers win: this file, then the environment ({variable} for {key}), then the command line (--set \
         {key}={value}). Numbers are plain, in the unit that ends the name of the setting; empty text means none. \
         '{name} check' reports what is wrong and what would run. Settings marked (live) take effect on 'systemctl \
         reload {name}', the others at a restart."
    )
}

/// The default file: every setting with its documentation, commented out at its default.
pub fn default_file<S: Schema>() -> String {
    let lines = wrapped(&header::<S>(), COLUMNS - 2);
    let mut text: String = lines.iter().map(|line| format!("# {line}\n")).collect();
    for (section, about) in S::SECTIONS {
        text.push('\n');
        for line in wrapped(about, COLUMNS - 2) {
            text.push_str(&format!("# {line}\n"));
        }
        text.push_str(&format!("[{section}]\n"));
        for definition in S::definitions().iter().filter(|definition| definition.section == *section) {
            let live = if definition.change == Change::Live { " (live)" } else { "" };
            let words = format!("{} Type: {}.{live}", definition.documentation, definition.range());
            text.push('\n');
            for line in wrapped(&words, COLUMNS - 2) {
                text.push_str(&format!("# {line}\n"));
            }
            text.push_str(&format!("#{} = {}\n", definition.name, definition.default));
        }
    }
    text
}

/// All settings as a page of Markdown.
pub fn reference<S: Schema>() -> String {
    let mut text = format!("# Settings of {}\n", S::PROGRAM.name);
    for (section, about) in S::SECTIONS {
        text.push_str(&format!("\n## [{section}]\n\n{about}\n\n"));
        text.push_str("| key | default | type | takes effect | meaning |\n|---|---|---|---|---|\n");
        for definition in S::definitions().iter().filter(|definition| definition.section == *section) {
            text.push_str(&row(definition));
        }
    }
    text
}

fn row(definition: &Definition) -> String {
    let effect = match definition.change {
        Change::Live => "on reload",
        Change::Restart => "at restart",
    };
    let (name, default) = (definition.name, &definition.default);
    let (range, meaning) = (definition.range(), definition.documentation);
    format!("| `{name}` | `{default}` | {range} | {effect} | {meaning} |\n")
}

/// The text in lines of at most this many characters.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
