//! `vigie privacy`: what has to be told and recorded about a sensor, from its configuration; and the keys of periods.

mod dutch;
mod english;
mod facts;
mod french;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use vigie_privacy::Period;

use super::bundle;
use super::exit::{Exit, Failure};
use super::reveal::{load, master_key, period, wrong_configuration};
use super::terminal::print;
use crate::policy::LoadedPolicy;
use crate::settings::Language;
use facts::Facts;

/// `vigie privacy`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    long_about = "Print what has to be told and recorded about this sensor, from its configuration: the notice for the \
                  staff, the facts for a data protection impact assessment (GDPR article 35), and the entry of the \
                  register of processing (article 30). In French, English and Dutch.\n\nWhat only the operator knows \
                  stands there in brackets. The texts are no legal advice: the data protection officer decides.",
    after_help = "Examples:\n  vigie privacy --language fr > notice.txt\n  vigie privacy key --master \
                  /media/dpo/master --site ministry --period 2026-12"
)]
pub struct PrivacyArguments {
    /// What to do instead.
    #[command(subcommand)]
    pub command: Option<PrivacyCommand>,

    /// Language; may be repeated [default: privacy.languages].
    #[arg(long, value_name = "fr|en|nl", value_parser = language)]
    pub language: Vec<Language>,

    /// Configuration file [default: /etc/vigie/vigie.toml, if it exists].
    #[arg(long, short, value_name = "FILE", env = "VIGIE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// The other things that concern privacy.
#[derive(Debug, Subcommand)]
pub enum PrivacyCommand {
    /// Derive keys of periods from the master key, as lines of a key file.
    #[command(
        long_about = "Derive keys of periods from the master key, as lines of a key file (privacy.key_file).\n\nThe master \
                      key is a file with at least 64 hexadecimal digits that only its owner can read. It stays with the \
                      data protection officer and never comes near a sensor: the sensor gets the keys of the current \
                      period, and in time those of the next.",
        after_help = "Examples:\n  (umask 077; openssl rand -hex 32 > master)\n  vigie privacy key --master master --site \
                      ministry --period 2026-11 --period 2026-12 --output vigie-period-key"
    )]
    Key {
        /// File with the master key.
        #[arg(long, value_name = "FILE")]
        master: PathBuf,
        /// Site of the sensor.
        #[arg(long, value_name = "NAME", value_parser = site)]
        site: String,
        /// Period: a month like 2026-11, a week like 2026-W48, or a day like 2026-11-27; may be repeated.
        #[arg(long = "period", required = true, value_name = "PERIOD", value_parser = period)]
        periods: Vec<Period>,
        /// Write a new file that only its owner can read, instead of the standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

fn language(text: &str) -> Result<Language, String> {
    text.parse()
}

fn site(text: &str) -> Result<String, String> {
    let is_name = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if is_name { Ok(text.to_owned()) } else { Err("write the name of the site, as privacy.site has it".to_owned()) }
}

/// Runs the command.
///
/// # Errors
/// Configuration, policy or master key are wrong, or the text cannot be written.
pub fn run(arguments: &PrivacyArguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Some(PrivacyCommand::Key { master, site, periods, output }) => keys(master, site, periods, output.as_deref()),
        None => texts(arguments),
    }
}

fn texts(arguments: &PrivacyArguments) -> Result<Exit, Failure> {
    let loaded = load(arguments.config.as_deref())?;
    let folders: Vec<PathBuf> = loaded.settings.signatures.folder.clone().into_iter().collect();
    let bundle = bundle::load(&folders)?;
    let policy = LoadedPolicy::of(&loaded, &bundle).map_err(|errors| wrong_configuration(&errors))?.policy;
    let facts = Facts::of(&loaded.settings, &policy);
    let configured = &loaded.settings.privacy.languages;
    let languages = if arguments.language.is_empty() { configured } else { &arguments.language };
    let texts: Vec<String> = languages.iter().map(|language| text(*language, &facts)).collect();
    print(&texts.join("\n"))?;
    Ok(Exit::Success)
}

fn text(language: Language, facts: &Facts) -> String {
    match language {
        Language::French => french::text(facts),
        Language::English => english::text(facts),
        Language::Dutch => dutch::text(facts),
    }
}

/// Derives keys of periods.
fn keys(master: &Path, site: &str, periods: &[Period], output: Option<&Path>) -> Result<Exit, Failure> {
    let master = master_key(master)?;
    let mut text = format!("# site {site}\n");
    for period in periods {
        text.push_str(&format!("{period} {}\n", master.period_key(site, *period).hex()));
    }
    let Some(path) = output else {
        print(&text)?;
        return Ok(Exit::Success);
    };
    let failed = |error: std::io::Error| Failure::write(&path.display().to_string(), &error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(Exit::Success)
}
