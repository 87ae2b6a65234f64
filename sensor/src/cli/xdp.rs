//! `vigie xdp`: loads the XDP program for a sensor that may not load it itself. Its service `vigie-xdp.service` does this before
//! the sensor starts.

use clap::{Args, Subcommand};

use super::configuration::ConfigurationArguments;
use super::exit::{Exit, Failure};
use super::read::capture_failure;
use super::terminal::{eprint, print};
use crate::run::{group_of_sensor, without_auto_to_load};
use vigie_capture::live::shunt::Purpose;
use vigie_capture::live::shunt::pinned::{self, FOLDER};

/// `vigie xdp`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct XdpArguments {
    /// The command.
    #[command(subcommand)]
    pub command: XdpCommand,
}

/// The commands on the XDP program.
#[derive(Debug, Subcommand)]
pub enum XdpCommand {
    /// Load the program that the configuration needs, for the group of the sensor; needs root.
    #[command(
        long_about = "Load the XDP program that capture.shunt or capture.backend needs, and pin it in /sys/fs/bpf/vigie, where the \
                      group of the sensor may open it. The sensor attaches it when it starts. With capture.backend = \"auto\" \
                      it is attached for a moment, to see whether the drivers run it, and the sensor follows what comes of \
                      that. One that was loaded before goes. Needs root.",
        after_help = "Examples:\n  vigie xdp load --config /etc/vigie/vigie.toml\n  systemctl enable vigie-xdp.service"
    )]
    Load(ConfigurationArguments),
    /// Take the program away. A sensor that runs keeps it until its end.
    Unload,
}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong, or the kernel, an interface or the rights of this process do not suffice.
pub fn run(arguments: &XdpArguments) -> Result<Exit, Failure> {
    match &arguments.command {
        XdpCommand::Load(configuration) => load(configuration),
        XdpCommand::Unload => unload(),
    }
}

fn load(configuration: &ConfigurationArguments) -> Result<Exit, Failure> {
    let settings = configuration.load_or_report()?.settings;
    let flows_max = settings.limits.shunt_flows_max;
    let (capture, said) = without_auto_to_load(&settings.capture, flows_max);
    if let Some(line) = said {
        print(&format!("{line}\n"))?;
    }
    let Some(options) = capture.program_options(flows_max) else {
        print("no XDP program is needed: capture.shunt is \"off\", and AF_XDP is not used\n")?;
        return unload();
    };
    let group = group_of_sensor(&settings).ok_or_else(|| {
        let what = format!("the user of the sensor does not exist: {:?}", settings.privilege.user);
        Failure::new(Exit::Unavailable, what, "set privilege.user, or install the package, which makes it")
    })?;
    let passed_over = pinned::load(&options, group.as_raw()).map_err(|error| capture_failure(&error))?;
    for interface in &passed_over {
        eprint(&format!("vigie: warning: interface {interface}: it does not exist yet, and is passed over\n"));
    }
    let loaded: Vec<&str> =
        options.interfaces.iter().filter(|name| !passed_over.contains(name)).map(String::as_str).collect();
    let program = match options.purpose {
        Purpose::Filter { .. } => "the shunt's filter",
        Purpose::Shunt | Purpose::Sockets => "the XDP program",
    };
    match loaded.is_empty() {
        true => print(&format!("{program} is loaded for no interface, in {FOLDER}\n"))?,
        false => print(&format!("{}: {program} is loaded, in {FOLDER}\n", loaded.join(", ")))?,
    }
    Ok(Exit::Success)
}

fn unload() -> Result<Exit, Failure> {
    let failed =
        |error| Failure::new(Exit::Unavailable, format!("{FOLDER} cannot be removed: {error}"), "start as root");
    pinned::unload().map_err(failed).map(|()| Exit::Success)
}
