//! What the backend `auto` comes to: why interfaces are not to be captured by AF_XDP, if nobody asked for just that.
//!
//! * In: the options, and who asks: a sensor that may load the program, one that may not, or who loads it for that one.
//! * Out: the obstacle in words that go on from "since"; none if nothing stands against AF_XDP.
//! * Not here: the other backend that is taken then.

use super::super::interfaces::{Interface, list};
use super::super::shunt::program::{self, Program};
use super::super::shunt::{ProgramAccess, ProgramOptions, Purpose, Shunt, attach, pinned};
use super::super::{Backend, LiveOptions, Timestamps};
use super::Sockets;
use super::open::{check, missing};

/// Whether this process loads the program itself. If not, it takes what was loaded for it ([`pinned`]).
pub fn may_load() -> bool {
    matches!(program::check(&ProgramOptions::for_sockets(Vec::new())), Ok(ProgramAccess::Loads))
}

/// The obstacle for the sensor of this process, with this program; none if nothing stands against AF_XDP. Who may load the
/// program opens the queues for that, and closes them again. Who may not goes by what was loaded for this sensor, on which
/// [`obstacle_to_load`] decided.
pub fn obstacle(options: &LiveOptions, workers: usize, program: &ProgramOptions) -> Option<String> {
    let to_open = || match may_load() {
        true => obstacle_to_open(options, workers, program),
        false => obstacle_of_loaded(&options.interfaces),
    };
    obstacle_of_options(options, workers, program).or_else(to_open)
}

/// The obstacle for a sensor that may not load the program, as who loads it finds it: the program is attached for that, and taken
/// away again. No socket is opened.
pub fn obstacle_to_load(options: &LiveOptions, workers: usize, program: &ProgramOptions) -> Option<String> {
    let to_attach = || {
        // Some drivers give a queue to no socket then.
        if let Some(interface) = named(options).find(|interface| !interface.is_up) {
            return Some(format!("{} is down", interface.name));
        }
        match attach(program) {
            Ok(program) => match program.passed_over().first() {
                Some(name) => Some(missing(name).to_string()),
                None => without_native_mode(&program),
            },
            Err(error) => Some(error.to_string()),
        }
    };
    obstacle_of_options(options, workers, program).or_else(to_attach)
}

/// As [`obstacle`], as far as that can be known without attaching anything to the interfaces.
pub fn obstacle_so_far(options: &LiveOptions, workers: usize, program: &ProgramOptions) -> Option<String> {
    let known = || match may_load() {
        true => {
            let there: Vec<String> = named(options).map(|interface| interface.name).collect();
            match options.interfaces.iter().find(|name| !there.contains(name)) {
                Some(name) => Some(missing(name).to_string()),
                None => check(program).err()?.first().map(ToString::to_string),
            }
        }
        false => obstacle_of_loaded(&options.interfaces),
    };
    obstacle_of_options(options, workers, program).or_else(known)
}

fn obstacle_of_options(options: &LiveOptions, workers: usize, program: &ProgramOptions) -> Option<String> {
    if program.purpose != Purpose::Sockets {
        return Some("it passes no packet on to this machine, which capture.shunt = \"pass\" asks for".to_owned());
    }
    if workers > 1 {
        return Some("several workers want a card that sends both directions of a flow to one queue".to_owned());
    }
    if options.bpf.is_some() {
        return Some("it has no filters, and capture.bpf is one".to_owned());
    }
    if options.timestamps == Timestamps::Hardware {
        return Some("it has no timestamps of the card, which capture.timestamps asks for".to_owned());
    }
    let options = LiveOptions { backend: Backend::Xdp, ..options.clone() };
    options.check(workers).err().map(|error| error.to_string())
}

/// The interfaces that exist.
fn named(options: &LiveOptions) -> impl Iterator<Item = Interface> {
    list().into_iter().filter(|interface| options.interfaces.contains(&interface.name))
}

fn obstacle_to_open(options: &LiveOptions, workers: usize, program: &ProgramOptions) -> Option<String> {
    let open = || {
        let shunt = program.flows_max.map(|_| Shunt::attach(program)).transpose()?;
        Sockets::open(options, workers, shunt.as_ref())
    };
    match open() {
        Ok(sockets) => without_native_mode(&sockets.first()?._program),
        Err(error) => Some(error.to_string()),
    }
}

fn obstacle_of_loaded(interfaces: &[String]) -> Option<String> {
    let first = interfaces.first().map_or("", String::as_str);
    match pinned::is_for_sockets(first) {
        Ok(Some(true)) => None,
        Ok(Some(false)) => {
            Some("the program was loaded for packet sockets ('journalctl -u vigie-xdp' says why)".to_owned())
        }
        Ok(None) => {
            let options = ProgramOptions::for_sockets(interfaces.to_vec());
            let refused = program::check(&options).err().and_then(|errors| errors.first().map(ToString::to_string));
            Some(refused.unwrap_or_else(|| "no program was loaded for this sensor".to_owned()))
        }
        Err(error) => Some(error.to_string()),
    }
}

/// The interface whose driver does not run the program, in words.
fn without_native_mode(program: &Program) -> Option<String> {
    let mut attached = program.attached().iter().enumerate();
    let (_, without) = attached.find(|(place, _)| !program.is_native(*place))?;
    Some(format!("the driver of {} has no XDP", without.name))
}
