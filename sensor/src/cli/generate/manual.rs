//! The manual pages: one for each command, made from the definition of the command line, and `vigie.toml(5)`, made from
//! the settings.
//!
//! A command's examples and exit codes are those of its help. What the definitions do not say stands here: the files that
//! a command uses, and which pages to see also.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::cli::arguments::Arguments;
use crate::settings::{FILE_DEFAULT, Settings};
use vigie_config::{Change, Definition, Table};

const GUIDE: &str = "/usr/share/doc/vigie/README.md";
const SIGNATURES_GUIDE: &str = "/usr/share/doc/vigie/signatures/README.md";

/// The page of the program itself.
pub(super) fn main_page() -> String {
    let root = built();
    page(&root, &root)
}

/// Writes all pages into a folder.
pub(super) fn write_all(folder: &Path) -> io::Result<()> {
    let root = built();
    for command in all(&root) {
        std::fs::write(folder.join(format!("{}.1", name(command))), page(&root, command))?;
    }
    std::fs::write(folder.join("vigie.toml.5"), settings_page())
}

/// The command line with the full names of its commands.
fn built() -> Command {
    let mut root = Arguments::command().disable_help_subcommand(true);
    root.build();
    root
}

/// A command and all below it.
fn all(command: &Command) -> Vec<&Command> {
    let mut commands = vec![command];
    commands.extend(command.get_subcommands().flat_map(all));
    commands
}

/// `vigie-signatures-list`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(root: &Command, command: &Command) -> String {
    let mut out = Vec::new();
    // A vector takes everything.
    let _ = write_definition(command, &mut out);
    let mut roff = Roff::new();
    exit_status(&mut roff, root, command);
    environment(&mut roff, command);
    files(&mut roff, command);
    examples(&mut roff, command);
    see_also(&mut roff, root, command);
    String::from_utf8_lossy(&out).into_owned() + &roff.render()
}

/// What the definition of the command says.
fn write_definition(command: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let page = Man::new(command.clone()).source(format!("vigie {version}")).manual("vigie");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    if command.has_subcommands() {
        page.render_subcommands_section(out)?;
    }
    Ok(())
}

/// The paragraph of a command's help that begins with these words, without them.
fn help_paragraph(command: &Command, heading: &str) -> Option<String> {
    let help = command.get_after_help()?.to_string();
    help.split("\n\n").find_map(|paragraph| paragraph.strip_prefix(heading).map(str::to_owned))
}

/// The exit codes that the command's own help tells, or else those of the program that concern it.
fn exit_status(roff: &mut Roff, root: &Command, command: &Command) {
    const HEADING: &str = "Exit codes: ";
    let own = help_paragraph(command, HEADING);
    let of_program = || help_paragraph(root, HEADING).unwrap_or_default();
    let has_found = ["vigie", "vigie-read"].contains(&name(command));
    let codes = own.unwrap_or_else(of_program);
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in codes.trim_end_matches('.').split("; ").filter_map(|entry| entry.split_once(' ')) {
        if code != "1" || has_found {
            item(roff, code, meaning);
        }
    }
}

fn environment(roff: &mut Roff, command: &Command) {
    let variables: Vec<_> =
        command.get_arguments().filter_map(|argument| Some((argument.get_env()?, argument))).collect();
    if variables.is_empty() {
        return;
    }
    roff.control("SH", ["ENVIRONMENT"]);
    for (variable, argument) in variables {
        let option = argument.get_long().unwrap_or_default();
        item(roff, &variable.to_string_lossy(), &format!("stands for --{option}."));
    }
    if takes_configuration(command) {
        item(roff, "VIGIE_SECTION__KEY", "sets a setting, such as VIGIE_CAPTURE__WORKERS=2 for capture.workers.");
    }
}

fn takes_configuration(command: &Command) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == "config")
}

fn files(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["FILES"]);
    if takes_configuration(command) || name(command) == "vigie" {
        item(roff, FILE_DEFAULT, "the configuration; see vigie.toml(5).");
        item(roff, "/var/log/vigie/eve.json", "the events, where events.file does not name another file.");
        item(roff, "/var/lib/vigie/journal", "the journal, if journal.folder names it.");
    }
    if ["vigie-reveal", "vigie-incident-close", "vigie-derogation-add", "vigie-derogation-end"].contains(&name(command))
    {
        item(roff, "/var/lib/vigie/audit.jsonl", "the audit, where privacy.audit_file does not name another file.");
    }
    if ["vigie-reveal", "vigie-privacy-key"].contains(&name(command)) {
        let what = "the keys of pseudonyms for the service, where privacy.key_file does not name another file.";
        item(roff, "/etc/credstore/vigie-period-key", what);
    }
    if command.get_arguments().any(|argument| argument.get_long() == Some("signatures"))
        || name(command).contains("signatures")
    {
        item(
            roff,
            SIGNATURES_GUIDE,
            "how to write signatures; SOURCES.md beside it says where the built-in ones come from.",
        );
    }
    item(roff, GUIDE, "how to run the sensor on a tap.");
}

fn examples(roff: &mut Roff, command: &Command) {
    let lines = help_paragraph(command, "Examples:").unwrap_or_else(|| match command.has_subcommands() {
        true => format!("  {} --help", command.get_bin_name().unwrap_or("vigie")),
        false => format!("  {}", command.get_bin_name().unwrap_or("vigie")),
    });
    roff.control("SH", ["EXAMPLES"]);
    code(roff, lines.lines().filter_map(|line| line.strip_prefix("  ")));
}

fn see_also(roff: &mut Roff, root: &Command, command: &Command) {
    let mut pages: Vec<String> = Vec::new();
    let own = name(command);
    if own != "vigie" {
        pages.push("vigie(1)".to_owned());
    }
    // Those directly below, and those beside it.
    let near = all(root).into_iter().map(name).filter(|other| {
        let parent = |page: &str| page.rsplit_once('-').map(|(parent, _)| parent.to_owned());
        *other != own
            && (parent(other).as_deref() == Some(own)
                || (parent(own) != parent("vigie-x") && parent(other) == parent(own)))
    });
    pages.extend(near.map(|page| format!("{page}(1)")));
    pages.extend(others(own).iter().map(|page| (*page).to_owned()));
    if takes_configuration(command) || own == "vigie" {
        pages.push("vigie.toml(5)".to_owned());
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages.join(", "))]);
}

/// Pages of other programs that go with a command's page.
fn others(page: &str) -> &'static [&'static str] {
    match page {
        "vigie-read" => &["vigie-explain(1)", "vigie-signatures(1)", "pcap-filter(7)", "tcpdump(8)"],
        "vigie-run" => &["vigie-check(1)", "vigie-interfaces(1)", "systemctl(1)", "logrotate(8)"],
        "vigie-check" => &["vigie-run(1)", "vigie-interfaces(1)"],
        "vigie-interfaces" => &["vigie-run(1)", "ethtool(8)", "ip-link(8)"],
        "vigie-explain" | "vigie-signatures" => &["vigie-read(1)"],
        "vigie-incident-close" => &["vigie-signatures-list(1)"],
        "vigie-reveal" => &["vigie-privacy(1)", "systemd.exec(5)"],
        "vigie-privacy" | "vigie-privacy-key" => &["vigie-reveal(1)", "vigie-check(1)"],
        "vigie-synth" => &["vigie-read(1)", "tcpreplay(1)"],
        _ => &[],
    }
}

/// `vigie.toml(5)`.
fn settings_page() -> String {
    let mut roff = Roff::new();
    let version = env!("CARGO_PKG_VERSION");
    roff.control("TH", ["vigie.toml", "5", "", &format!("vigie {version}"), "vigie"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("vigie.toml - settings of the sensor vigie")]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([italic(FILE_DEFAULT)]);
    roff.control("SH", ["DESCRIPTION"]);
    for paragraph in DESCRIPTION {
        roff.control("PP", []);
        roff.text([roman(*paragraph)]);
    }
    for (section, about) in Settings::SECTIONS {
        roff.control("SH", [format!("[{section}]").as_str()]);
        roff.text([roman(*about)]);
        for definition in Settings::definitions().iter().filter(|definition| definition.section == *section) {
            setting(&mut roff, definition);
        }
    }
    roff.control("SH", ["FILES"]);
    item(&mut roff, FILE_DEFAULT, "the configuration, of which --config names another.");
    item(&mut roff, "/usr/share/doc/vigie/settings.md", "the same settings as a table.");
    item(&mut roff, GUIDE, "how to run the sensor on a tap.");
    roff.control("SH", ["EXAMPLES"]);
    roff.text([roman("Both legs of a tap, each worker on a CPU of its own:")]);
    code(&mut roff, EXAMPLE.lines());
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("vigie(1), vigie-check(1), vigie-generate(1), vigie-run(1)")]);
    roff.render()
}

/// What the page says before the settings.
const DESCRIPTION: &[&str] = &[
    "The file is TOML. Every setting has a default, so a file with capture.interfaces is enough. An unknown section or key \
     is an error, and so is a value that does not fit.",
    "Later layers win: this file, then the environment (VIGIE_CAPTURE__WORKERS for capture.workers), then the command line \
     (--set capture.workers=2). Numbers are plain, in the unit that ends a setting's name; empty text stands for none.",
    "'vigie check' says what is wrong, with file, line and key, and what would run. 'vigie generate config' prints the file \
     with every setting at its default. Settings marked \"on reload\" take effect on SIGHUP ('systemctl reload vigie'), the \
     others at a restart.",
];

/// A file that is checked by a test.
const EXAMPLE: &str = "\
[capture]
interfaces = [\"eth1\", \"eth2\"]
workers = 2
cpus = [2, 3]
";

fn setting(roff: &mut Roff, definition: &Definition) {
    let effect = match definition.change {
        Change::Live => "on reload",
        Change::Restart => "at restart",
    };
    roff.control("TP", []);
    roff.text([bold(definition.name), roman(" = "), italic(definition.default.as_str())]);
    roff.text([roman(format!("{} Type: {}; takes effect {effect}.", definition.documentation, definition.range()))]);
}

fn item(roff: &mut Roff, term: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(meaning)]);
}

/// Lines as they are typed.
fn code<'l>(roff: &mut Roff, lines: impl Iterator<Item = &'l str>) {
    roff.control("PP", []);
    roff.control("nf", []);
    roff.control("RS", ["4"]);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("RE", []);
    roff.control("fi", []);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn pages() -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path()).unwrap();
        let read = |entry: io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
        };
        std::fs::read_dir(folder.path()).unwrap().map(read).collect()
    }

    #[test]
    fn every_command_has_a_page_with_all_its_parts() {
        let pages = pages();
        let root = built();
        for command in all(&root) {
            let page = &pages[&format!("{}.1", name(command))];
            for section in
                ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "FILES", "EXAMPLES", "SEE ALSO"]
            {
                let heading =
                    format!("\n.SH {}", if section.contains(' ') { format!("\"{section}\"") } else { section.into() });
                assert_eq!(page.matches(&heading).count(), 1, "{section} of {}", name(command));
            }
            assert!(!page.contains(".SH EXTRA"), "{}", name(command));
        }
        assert_eq!(pages.len(), all(&root).len() + 1);
        assert!(pages["vigie-read.1"].contains("vigie read office.pcapng"));
        assert!(pages["vigie-read.1"].contains("VIGIE_SENSOR_NAME"));
        assert!(pages["vigie-check.1"].contains("it can run") && !pages["vigie-check.1"].contains("alerts were found"));
        assert!(pages["vigie-run.1"].contains("vigie.toml(5)") && pages["vigie-run.1"].contains("VIGIE_SECTION__KEY"));
    }

    /// A page that is named exists, or is another program's.
    #[test]
    fn pages_to_see_also_exist() {
        let pages = pages();
        for (name, page) in &pages {
            let (_, line) = page.split_once("SEE ALSO").unwrap();
            let named: Vec<String> =
                line.replace('\\', "").split([',', '\n', '"']).map(|name| name.trim().to_owned()).collect();
            let own = named.iter().filter(|named| named.starts_with("vigie"));
            let mut count = 0;
            for named in own {
                let file = named.replace('(', ".").replace(')', "");
                assert!(pages.contains_key(&file) && file != *name, "{named} in {name}");
                count += 1;
            }
            assert!(count > 0, "{name}: {named:?}");
        }
    }

    #[test]
    fn the_page_of_the_settings_has_all_of_them() {
        let page = settings_page();
        for definition in Settings::definitions() {
            assert!(page.contains(&format!("\\fB{}\\fR", definition.name.replace('-', "\\-"))), "{}", definition.key);
        }
        assert!(EXAMPLE.lines().all(|line| page.contains(line)), "{page}");
    }
}
