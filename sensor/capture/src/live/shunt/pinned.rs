//! The XDP program as another process has loaded it: pinned in a BPF file system, for a sensor that may not load one.
//!
//! * In: what the program is to do, and the group of the sensor.
//! * Out: pins of the program and its maps, which that group may open; there the sensor takes them, and nobody else meanwhile.
//! * Not here: to attach it. The sensor does that itself, and so the program is on no interface while no sensor runs.
//!
//! The kernel asks for capabilities where a program is loaded, and not where one is attached: who may open the program may
//! attach it. It lets up all packets of interfaces other than those that it was loaded for.

use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::bpf::ProgramKind;
use super::object::Object;
use super::packet::TagKey;
use super::program::{
    CONSTANTS, Constants, Loaded, OBJECT, PROGRAM, ProgramOptions, Purpose, Sockets, Wanted, constants_spec,
    load as load_program,
};
use super::refusal::error;
use super::{bpf, random_key};
use crate::CaptureError;

/// Where the program is pinned.
pub const FOLDER: &str = "/sys/fs/bpf/vigie";
/// Where the sensor's unit shows that folder to the sensor: the one above is open to root only.
const FOLDER_OF_SENSOR: &str = "/run/vigie-xdp";
/// Permissions of the folder and of a pin: those of root and of the sensor's group.
const FOLDER_MODE: u32 = 0o750;
const PIN_MODE: u32 = 0o660;

/// Loads the program for a sensor of this group, in place of the one that was loaded before. The names of the interfaces that
/// do not exist come back; they are passed over.
///
/// # Errors
/// The kernel, an interface or the rights of this process do not suffice, or there is no BPF file system.
pub fn load(options: &ProgramOptions, group: u32) -> Result<Vec<String>, CaptureError> {
    let (purpose, first) = (options.purpose, options.first());
    let Wanted { constants, passed_over, .. } = Wanted::new(options, &random_key())?;
    let loaded = load_program(OBJECT, &constants, &[], &[]).map_err(|refusal| refusal.of(first, purpose))?;
    pin(&loaded, group).map_err(|cause| {
        let _ = unload();
        let reason = format!("{} cannot be pinned in {FOLDER}: {cause}", purpose.program());
        error(first, &reason, "mount -t bpf bpf /sys/fs/bpf, if it is not mounted there, and start as root")
    })?;
    Ok(passed_over)
}

/// Takes the pins away, if there are any. A sensor that uses the program keeps it.
///
/// # Errors
/// The rights of this process do not suffice.
pub fn unload() -> io::Result<()> {
    match fs::remove_dir_all(FOLDER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// The folder where a sensor that may not load the program finds one that fits these options. None if none is there.
///
/// # Errors
/// The one that is there does not fit.
pub fn check(options: &ProgramOptions) -> Result<Option<&'static str>, CaptureError> {
    let Some(folder) = folder() else { return Ok(None) };
    let wanted = Wanted::new(options, &TagKey { low: 0, high: 0 })?;
    match open(folder, &wanted.constants) {
        Ok(_) => Ok(Some(folder)),
        Err(lack) => Err(lack.of(options.first(), options.purpose)),
    }
}

/// Whether the program that a sensor that may not load one finds hands packets to AF_XDP sockets, with or without a shunt in front.
/// None if none is there.
///
/// # Errors
/// The one that is there cannot be read, or is another version's. The error names this interface.
pub fn is_for_sockets(interface: &str) -> Result<Option<bool>, CaptureError> {
    let Some(folder) = folder() else { return Ok(None) };
    let of_it = || {
        let object = Object::read(OBJECT, ProgramKind::Xdp).ok_or(Lack::Version(folder))?;
        let (_, values) = held_constants(folder, &object)?;
        let to_sockets = object.constant(&values, "to_sockets", size_of::<u32>()).filter(|_| object.is_of(&values));
        to_sockets.map(|bytes| bytes != [0; 4]).ok_or(Lack::Version(folder))
    };
    of_it().map(Some).map_err(|lack: Lack| lack.of(interface, Purpose::Sockets))
}

/// A program that was loaded for this process.
pub(super) struct Taken {
    pub(super) loaded: Loaded,
    /// As they were wanted, with the key and the mark that it was loaded with.
    pub(super) constants: Constants,
    /// Keeps other sensors from it until it is closed.
    pub(super) lock: Flock<File>,
}

/// Takes a program that fits, with nothing in its maps. None if none is there.
pub(super) fn take(wanted: &Constants) -> Result<Option<Taken>, Lack> {
    let Some(folder) = folder() else { return Ok(None) };
    let lock = File::open(folder).map_err(|cause| Lack::of_system(folder, cause))?;
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, cause)| match cause {
        Errno::EWOULDBLOCK => Lack::InUse(folder),
        cause => Lack::of_system(folder, cause.into()),
    })?;
    let (loaded, constants) = open(folder, wanted)?;
    // What an earlier sensor had inserted is nothing that this one has seen.
    loaded.clear().map_err(|cause| Lack::of_system(folder, cause))?;
    Ok(Some(Taken { loaded, constants, lock }))
}

fn pin(loaded: &Loaded, group: u32) -> io::Result<()> {
    unload()?;
    let folder = Path::new(FOLDER);
    DirBuilder::new().mode(0o700).create(folder)?;
    let allow = |path: &Path, mode| {
        chown(path, None, Some(group))?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    };
    let pin = |name: &str, object: BorrowedFd<'_>| {
        let path = folder.join(name);
        bpf::pin(object, &path)?;
        allow(&path, PIN_MODE)
    };
    for (spec, map) in &loaded.maps {
        pin(spec.name, map.as_fd())?;
    }
    pin(CONSTANTS, loaded.constants.as_fd())?;
    pin(PROGRAM, loaded.program.as_fd())?;
    allow(folder, FOLDER_MODE)
}

/// Where a program is pinned, if there is one.
fn folder() -> Option<&'static str> {
    let of_sensor = fs::symlink_metadata(Path::new(FOLDER_OF_SENSOR).join(PROGRAM));
    // A folder that is shown and closed is told, and not passed over.
    if of_sensor.is_ok() || of_sensor.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        return Some(FOLDER_OF_SENSOR);
    }
    Path::new(FOLDER).join(PROGRAM).exists().then_some(FOLDER)
}

/// Opens the program and its maps, if they fit.
fn open(folder: &'static str, wanted: &Constants) -> Result<(Loaded, Constants), Lack> {
    let failed = |cause| Lack::of_system(folder, cause);
    let get = |name: &str| bpf::open(&Path::new(folder).join(name), false).map_err(failed);
    let object = Object::read(OBJECT, wanted.program()).ok_or(Lack::Version(folder))?;
    let (held, values) = held_constants(folder, &object)?;
    let constants = fitting(&object, &values, wanted, folder)?;
    let mut maps = Vec::new();
    for spec in constants.maps() {
        let map = get(spec.name)?;
        if !bpf::is_like(map.as_fd(), &spec).map_err(failed)? {
            return Err(Lack::Version(folder));
        }
        maps.push((spec, map));
    }
    let program: OwnedFd = get(PROGRAM)?;
    Ok((Loaded { program, maps, constants: held }, constants))
}

/// The map of a loaded program's constants, and their values.
fn held_constants(folder: &'static str, object: &Object<'_>) -> Result<(OwnedFd, Vec<u8>), Lack> {
    let failed = |cause| Lack::of_system(folder, cause);
    let spec = constants_spec(object);
    let held = bpf::open(&Path::new(folder).join(CONSTANTS), true).map_err(failed)?;
    if !bpf::is_like(held.as_fd(), &spec).map_err(failed)? {
        return Err(Lack::Version(folder));
    }
    let values = bpf::value(held.as_fd(), &spec, &[0; 4]).map_err(failed)?;
    Ok((held, values))
}

/// The constants of a loaded program, if they are those that are wanted but for what is random.
fn fitting(object: &Object<'_>, values: &[u8], wanted: &Constants, folder: &'static str) -> Result<Constants, Lack> {
    if !object.is_of(values) {
        return Err(Lack::Version(folder));
    }
    let word = |name: &str| {
        let bytes = object.constant(values, name, size_of::<u64>()).and_then(|bytes| bytes.first_chunk());
        bytes.copied().map(u64::from_ne_bytes).ok_or(Lack::Version(folder))
    };
    let (key, mark) = (TagKey { low: word("key_low")?, high: word("key_high")? }, word("stamp_mark")?);
    let sockets = wanted.sockets.map(|sockets| Sockets { mark, ..sockets });
    let constants = Constants { key, sockets, ..wanted.clone() };
    for (name, value) in constants.values() {
        if object.constant(values, name, value.len()) != Some(&value[..]) {
            return Err(Lack::Setting(folder, setting(name)));
        }
    }
    Ok(constants)
}

/// What differs, in words, if a constant does.
fn setting(constant: &str) -> &'static str {
    match constant {
        "shunts" => "another capture.shunt",
        "snap_bytes" => "another capture.shunt or capture.snap_bytes",
        "to_sockets" => "another capture.backend",
        "line_shift" | "line_mask" => "another limits.shunt_flows_max",
        "interfaces" => "other interfaces, or one of them was made anew",
        "queues" => "cards with another number of queues",
        _ => "another machine",
    }
}

/// What keeps a sensor from taking the program, and in which folder.
#[derive(Debug)]
pub(super) enum Lack {
    /// Another sensor has it.
    InUse(&'static str),
    /// Its group is not the sensor's.
    Permission(&'static str),
    /// The object or the maps are another version's.
    Version(&'static str),
    /// It was loaded for something else.
    Setting(&'static str, &'static str),
    System(&'static str, io::Error),
}

impl Lack {
    fn of_system(folder: &'static str, cause: io::Error) -> Self {
        match cause.raw_os_error() {
            Some(libc::EACCES) => Self::Permission(folder),
            _ => Self::System(folder, cause),
        }
    }

    /// As the error of an interface.
    pub(super) fn of(&self, name: &str, purpose: Purpose) -> CaptureError {
        let mend = match self {
            Self::InUse(_) => "end that sensor".to_owned(),
            Self::System(..) => format!("start as root, or {}", purpose.otherwise()),
            _ => "systemctl restart vigie, or 'vigie xdp load' as root, loads it anew".to_owned(),
        };
        error(name, &format!("{} {self}", purpose.program()), mend)
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(folder) => write!(text, "in {folder} is in use by another sensor"),
            Self::Permission(folder) => write!(text, "in {folder} belongs to another group than the sensor's"),
            Self::Version(folder) => write!(text, "in {folder} was loaded by another version of vigie"),
            Self::Setting(folder, setting) => write!(text, "in {folder} was loaded for {setting}"),
            Self::System(folder, cause) if cause.raw_os_error() == Some(libc::EPERM) => {
                write!(
                    text,
                    "in {folder} cannot be used: without capabilities, bpf(2) needs Linux 6.1 and a unit that allows it"
                )
            }
            Self::System(folder, cause) => write!(text, "in {folder} cannot be used: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::INTERFACES_MAX;
    use super::*;

    fn constants(key: u64) -> Constants {
        let mut interfaces = [0; INTERFACES_MAX];
        interfaces[..2].copy_from_slice(&[7, 9]);
        let (key, sockets) = (TagKey { low: key, high: key + 1 }, Some(Sockets { queues: 4, mark: key + 2 }));
        Constants { key, lines: 64, processors: 2, interfaces, shunts: true, sockets, snap_bytes: None }
    }

    /// The values of a program that was loaded with these constants.
    fn loaded(constants: &Constants) -> Vec<u8> {
        let mut object = Object::read(OBJECT, ProgramKind::Xdp).unwrap();
        assert!(constants.values().iter().all(|(name, value)| object.set(name, value)));
        object.constants()
    }

    fn fit(values: &[u8], wanted: &Constants) -> Result<Constants, String> {
        let object = Object::read(OBJECT, ProgramKind::Xdp).unwrap();
        fitting(&object, values, wanted, FOLDER).map_err(|lack| lack.to_string())
    }

    #[test]
    fn what_is_random_comes_from_the_loaded_program() {
        let constants_of_it = fit(&loaded(&constants(100)), &constants(5)).unwrap();
        assert_eq!((constants_of_it.key.low, constants_of_it.key.high), (100, 101));
        assert_eq!(constants_of_it.sockets.map(|sockets| sockets.mark), Some(102));
    }

    #[test]
    fn a_program_for_something_else_does_not_fit() {
        let values = loaded(&constants(100));
        let refused = |change: fn(&mut Constants)| {
            let mut wanted = constants(5);
            change(&mut wanted);
            fit(&values, &wanted).unwrap_err()
        };
        let said = |what: &str| format!("in {FOLDER} was loaded for {what}");
        assert_eq!(refused(|wanted| wanted.lines = 128), said("another limits.shunt_flows_max"));
        assert_eq!(refused(|wanted| wanted.shunts = false), said("another capture.shunt"));
        assert_eq!(refused(|wanted| wanted.sockets = None), said("another capture.backend"));
        let anew = said("other interfaces, or one of them was made anew");
        assert_eq!(refused(|wanted| wanted.interfaces[1] = 10), anew);
        assert_eq!(refused(|wanted| wanted.interfaces[2] = 11), anew);
        let queues = Some(Sockets { queues: 5, mark: 0 });
        assert_eq!(
            fit(&values, &Constants { sockets: queues, ..constants(5) }).unwrap_err(),
            said("cards with another number of queues")
        );
        assert_eq!(refused(|wanted| wanted.processors = 3), said("another machine"));
        let to_pass = said("another capture.shunt or capture.snap_bytes");
        assert_eq!(refused(|wanted| wanted.snap_bytes = Some(65_535)), to_pass);
    }

    #[test]
    fn a_program_of_another_version_does_not_fit() {
        let version = format!("in {FOLDER} was loaded by another version of vigie");
        let wanted = constants(5);
        let values = loaded(&wanted);
        for other in [&values[1..], &[&values[..], &[0; 8]].concat(), &[]] {
            assert_eq!(fit(other, &wanted).unwrap_err(), version);
        }
        let mut other = values.clone();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(fit(&other, &wanted).unwrap_err(), version);
        assert!(fit(&values, &wanted).is_ok());
    }
}
