//! The settings as a default file and as a page of documentation, both made from the table.

use super::table::{Change, Definition, SECTIONS, definitions};

/// Columns of the default file's comments.
const COLUMNS: usize = 100;

/// What the default file begins with.
const HEADER: &str = "\
The settings of vigie. Each stands here at its default, commented out: take the # away to change
it. Later layers win: this file, then the environment (VIGIE_CAPTURE__WORKERS for
capture.workers), then the command line (--set capture.workers=2). Numbers are plain, in the unit that ends a
setting's name; empty text stands for none. 'vigie check' says what is wrong and what would run.
Settings marked (live) come into force on 'systemctl reload vigie', the others at a restart.
";

/// The default file: every setting with its documentation, commented out at its default.
pub fn default_file() -> String {
    let header = wrapped(HEADER, COLUMNS - 2);
    let mut text: String = header
        .iter()
        .map(|line| {
            format!(
                "# {line}
"
            )
        })
        .collect();
    for (section, about) in SECTIONS {
        text.push_str(&format!("\n# {about}\n[{section}]\n"));
        for definition in definitions().iter().filter(|definition| definition.section == *section) {
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
pub fn reference() -> String {
    let mut text = String::from("# Settings of vigie\n");
    for (section, about) in SECTIONS {
        text.push_str(&format!("\n## [{section}]\n\n{about}\n\n"));
        text.push_str("| key | default | type | takes effect | meaning |\n|---|---|---|---|---|\n");
        for definition in definitions().iter().filter(|definition| definition.section == *section) {
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

/// Words in lines of at most `columns`.
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
