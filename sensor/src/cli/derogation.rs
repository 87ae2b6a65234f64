//! `vigie derogation`: the register of those who may use a banned service, listed and edited.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use time::Date;
use vigie_config::{Day, Layers, Source};
use vigie_journal::json::Object;
use vigie_judgement::policy::{BanInUse, Derogation, Refusal, Who, Zone};

use super::bundle;
use super::exit::{Exit, Failure};
use super::reveal::{no_audit, open_audit, some_text};
use super::table::{self, Left};
use super::terminal::{Style, Terminal, print};
use crate::audit::{AuditEvent, this_user};
use crate::policy::{self, EditError, Register};
use crate::settings::Loaded;

/// `vigie derogation`.
#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Examples:\n  vigie derogation list\n  vigie derogation add --who 10.20.0.7 --service tiktok --until \
                  2026-12-31 --reason 'institutional account' --approver 'secretary-general' --reference SG-2026-17\n  \
                  vigie derogation end 2026-001\n\nA running sensor uses a changed register after a reload: \
                  'systemctl reload vigie'."
)]
pub struct DerogationArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: DerogationCommand,
}

/// The register that a command is about.
#[derive(Args, Clone, Debug, Default)]
pub struct RegisterArguments {
    /// The register [default: policy.derogations of the configuration].
    #[arg(long, value_name = "FILE")]
    pub register: Option<PathBuf>,

    /// Configuration file, or policy file [default: /etc/vigie/vigie.toml, if it exists].
    #[arg(long, short, value_name = "FILE", env = "VIGIE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// What can be done with derogations.
#[derive(Debug, Subcommand)]
pub enum DerogationCommand {
    /// List the entries with their state.
    List {
        /// The register.
        #[command(flatten)]
        register: RegisterArguments,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        /// Day for which the state is shown, such as 2026-12-31; without it today.
        #[arg(long, value_name = "DATE", value_parser = day)]
        as_of: Option<Date>,
    },
    /// Add an entry. Nothing is recorded of who is under a derogation, as long as it lasts.
    Add(Box<AddArguments>),
    /// End an entry early. It stays in the register, so that one can see whom it excused.
    End {
        /// Id of the entry, as the list has it.
        #[arg(value_name = "ID")]
        id: String,
        /// The register.
        #[command(flatten)]
        register: RegisterArguments,
        /// Its last day; without it today.
        #[arg(long, value_name = "DATE", value_parser = day)]
        last: Option<Date>,
    },
}

/// `vigie derogation add`.
#[derive(Args, Debug)]
pub struct AddArguments {
    /// The register.
    #[command(flatten)]
    pub register: RegisterArguments,

    /// Who: an address, a prefix, a MAC address, or 'label:' and a label of the asset list; may be repeated.
    #[arg(long, required = true, value_name = "WHO", value_parser = who)]
    pub who: Vec<Who>,

    /// Key of a service that may be used, as 'vigie signatures list' has it; may be repeated.
    #[arg(long = "service", required = true, value_name = "KEY")]
    pub services: Vec<String>,

    /// Id of a ban that it is from; may be repeated; without it from all.
    #[arg(long = "ban", value_name = "ID")]
    pub bans: Vec<String>,

    /// First day, not before today; without it today.
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub from: Option<Date>,

    /// Last day.
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub until: Date,

    /// Why it is needed.
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub reason: String,

    /// Who approved it.
    #[arg(long, value_name = "NAME", value_parser = some_text)]
    pub approver: String,

    /// Number of the decision.
    #[arg(long, value_name = "TEXT", value_parser = some_text)]
    pub reference: String,

    /// Id of the entry; without it the next free one of the year.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
}

fn day(text: &str) -> Result<Date, String> {
    Day::parse(text).map(|Day(day)| day).map_err(|fault| format!("{}; {}", fault.what, fault.mend))
}

fn who(text: &str) -> Result<Who, Refusal> {
    text.parse()
}

/// A text of one line with something in it.
fn text(text: &str) -> Result<String, &'static str> {
    let is_text = !text.trim().is_empty() && !text.chars().any(char::is_control);
    is_text.then(|| text.trim().to_owned()).ok_or("not a line of text; give one with something in it")
}

/// Runs the command.
///
/// # Errors
/// Configuration or register are wrong, the change makes no sense, or a file cannot be written.
pub fn run(arguments: &DerogationArguments, terminal: Terminal) -> Result<Exit, Failure> {
    match &arguments.command {
        DerogationCommand::List { register, json, as_of } => {
            let scene = Scene::load(register)?;
            let day = as_of.unwrap_or_else(|| scene.today());
            let register = scene.register()?;
            let entries = register.derogations();
            print(&if *json { list_json(entries, day) } else { list(entries, day, terminal.stdout_style()) })?;
        }
        DerogationCommand::Add(add) => {
            let scene = Scene::load(&add.register)?;
            print(&added(&scene, add)?)?;
        }
        DerogationCommand::End { id, register, last } => {
            let scene = Scene::load(register)?;
            let last = last.unwrap_or_else(|| scene.today());
            if last < scene.today() {
                let what = format!("--last {last} lies before today");
                return Err(Failure::new(
                    Exit::Usage,
                    what,
                    "what a derogation excused stays excused; leave --last out",
                ));
            }
            let register = scene.register()?;
            let audit = open_audit(&scene.loaded)?;
            register.end(id, last).map_err(failure)?;
            let event = AuditEvent::DerogationEnded { id, last: &last.to_string(), by: &this_user() };
            audit.write(&event).map_err(|error| scene.not_audited(&error))?;
            print(&format!("{id} ends on {last}; a running sensor knows it after a reload\n"))?;
        }
    }
    Ok(Exit::Success)
}

/// Adds an entry and says so.
fn added(scene: &Scene, add: &AddArguments) -> Result<String, Failure> {
    let register = scene.register()?;
    let today = scene.today();
    let derogation = Derogation {
        id: add.id.clone().unwrap_or_else(|| register.free_id(today)),
        who: add.who.clone(),
        services: add.services.clone(),
        bans: add.bans.clone(),
        from: add.from.unwrap_or(today),
        until: add.until,
        ended: None,
        added: today,
        reason: add.reason.clone(),
        approver: add.approver.clone(),
        reference: add.reference.clone(),
    };
    let audit = open_audit(&scene.loaded)?;
    register.add(&derogation).map_err(failure)?;
    let Derogation { id, from, until, .. } = &derogation;
    let event = AuditEvent::DerogationAdded {
        id,
        services: &derogation.services.join(", "),
        from: &from.to_string(),
        until: &until.to_string(),
        approver: &derogation.approver,
        reference: &derogation.reference,
        by: &this_user(),
    };
    audit.write(&event).map_err(|error| scene.not_audited(&error))?;
    let (who, services) = (people(&derogation), derogation.services.join(", "));
    Ok(format!(
        "{id} added: {who} may use {services} from {from} to {until}; a running sensor knows it after a reload\n"
    ))
}

/// What a command works on.
struct Scene {
    path: PathBuf,
    bundle: std::sync::Arc<vigie_signatures::Bundle>,
    bans: Vec<BanInUse>,
    loaded: Loaded,
}

impl Scene {
    fn load(arguments: &RegisterArguments) -> Result<Self, Failure> {
        let source = arguments.config.clone().map_or(Source::Default, Source::Path);
        let wrong = |error: &dyn std::fmt::Display| {
            let mend = "'vigie check' shows everything that is wrong";
            Failure::new(Exit::Configuration, error.to_string().lines().next().unwrap_or_default(), mend)
        };
        let loaded = policy::load_settings(Layers::of_process(source, Vec::new())).map_err(|error| wrong(&error))?;
        let folders: Vec<PathBuf> = loaded.settings.signatures.folder.clone().into_iter().collect();
        let bundle = bundle::load(&folders)?;
        let bans = policy::bans(&loaded, &bundle).map_err(|error| wrong(&error))?;
        let path = match &arguments.register {
            Some(path) => path.clone(),
            None => policy::register(&loaded).map_err(|error| wrong(&error))?,
        };
        Ok(Self { path, bundle, bans, loaded })
    }

    fn not_audited(&self, error: &std::io::Error) -> Failure {
        let failure = no_audit(&self.loaded.settings.privacy.audit_file, error);
        Failure { what: format!("the register was changed, but {}", failure.what), ..failure }
    }

    fn register(&self) -> Result<Register<'_>, Failure> {
        let is_root = nix::unistd::geteuid().is_root();
        // The sensor must read the register again on a reload.
        let user = &self.loaded.settings.privilege.user;
        let user = is_root.then(|| nix::unistd::User::from_name(user).ok().flatten()).flatten();
        let owner = user.map(|user| (user.uid.as_raw(), user.gid.as_raw()));
        Ok(Register::open(&self.path, &self.bundle, &self.bans).map_err(failure)?.owned_by(owner))
    }

    /// The day where the first ban applies.
    fn today(&self) -> Date {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let zone = self.bans.first().map_or_else(Zone::utc, |used| used.zone().clone());
        zone.day_at(now.as_nanos() as u64)
    }
}

fn failure(error: EditError) -> Failure {
    match error {
        EditError::Refused(what, mend) => Failure::new(Exit::Usage, what, mend),
        EditError::Wrong(findings) => {
            let first = findings.iter().find(|finding| finding.severity == vigie_config::Severity::Error);
            Failure::new(Exit::Configuration, first.map(ToString::to_string).unwrap_or_default(), "")
        }
        EditError::Write(..) => Failure::new(Exit::Unavailable, error.to_string(), ""),
    }
}

fn people(derogation: &Derogation) -> String {
    derogation.who.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A line for each entry.
fn list(entries: &[Derogation], day: Date, style: Style) -> String {
    if entries.is_empty() {
        return "the register is empty\n".to_owned();
    }
    let headings = ["ID", "STATE", "WHO", "SERVICES", "FROM", "UNTIL", "APPROVED BY", "REFERENCE"];
    let mut table = table::with_headings(headings.map(|heading| (heading, Left)));
    for derogation in entries {
        table.add_row([
            derogation.id.clone(),
            derogation.state_at(day).to_string(),
            people(derogation),
            derogation.services.join(", "),
            derogation.from.to_string(),
            derogation.last_day().to_string(),
            derogation.approver.clone(),
            derogation.reference.clone(),
        ]);
    }
    table::fitting_text(table, style, &[7, 6, 4])
}

/// An object a line.
fn list_json(entries: &[Derogation], day: Date) -> String {
    let mut out = Vec::new();
    for derogation in entries {
        let mut object = Object::open(&mut out);
        object.text("id", &derogation.id);
        object.text("state", &derogation.state_at(day).to_string());
        let who: Vec<String> = derogation.who.iter().map(ToString::to_string).collect();
        object.texts("who", who.iter().map(String::as_str));
        object.texts("services", derogation.services.iter().map(String::as_str));
        object.texts("bans", derogation.bans.iter().map(String::as_str));
        for (key, day) in [("from", derogation.from), ("until", derogation.until), ("added", derogation.added)] {
            object.text(key, &day.to_string());
        }
        object.text_or_null("ended", derogation.ended.map(|day| day.to_string()).as_deref());
        for (key, text) in
            [("reason", &derogation.reason), ("approver", &derogation.approver), ("reference", &derogation.reference)]
        {
            object.text(key, text);
        }
        object.close();
        out.push(b'\n');
    }
    String::from_utf8_lossy(&out).into_owned()
}
