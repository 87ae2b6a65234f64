//! Metrics of the process itself, from the kernel (proc(5)). All files are opened at start and read again through the same
//! descriptors, so that this works after the program has given up its rights; what cannot be read is left out.
//!
//! The crate `procfs` is not used: before Linux 6.2 its count of open files is too high by three, and it parses some
//! fifty fields for the six that are shown.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{SysconfVar, sysconf};

use crate::Scrape;

crate::families! {
    CPU: Counter, "process_cpu_seconds_total", [],
        "CPU time of the process.";
    START: Gauge, "process_start_time_seconds", [],
        "When the process started, in seconds since the Unix epoch.";
    RESIDENT: Gauge, "process_resident_memory_bytes", [],
        "Memory of the process that is in RAM.";
    VIRTUAL: Gauge, "process_virtual_memory_bytes", [],
        "Address space of the process.";
    THREADS: Gauge, "process_threads", [],
        "Threads of the process.";
    OPEN_FDS: Gauge, "process_open_fds", [],
        "Open files of the process.";
    MAX_FDS: Gauge, "process_max_fds", [],
        "Files that the process may open.";
}

/// The files, open.
#[derive(Debug)]
pub struct Process {
    stat: File,
    descriptors: Option<Dir>,
    ticks_per_second: f64,
    page_bytes: f64,
    booted_at: Option<f64>,
    descriptors_max: Option<f64>,
}

impl Process {
    /// Opens the files.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn open() -> io::Result<Self> {
        let booted_at = std::fs::read_to_string("/proc/stat").ok().and_then(|text| booted_at(&text));
        let limits = std::fs::read_to_string("/proc/self/limits").ok();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            stat: File::open("/proc/self/stat")?,
            descriptors: Dir::open("/proc/self/fd", flags, Mode::empty()).ok(),
            ticks_per_second: system_value(SysconfVar::CLK_TCK)?,
            page_bytes: system_value(SysconfVar::PAGE_SIZE)?,
            booted_at,
            descriptors_max: limits.and_then(|text| descriptors_max(&text)),
        })
    }

    /// Gives the values as they are now.
    pub fn collect(&mut self, scrape: &mut Scrape) {
        let mut buffer = [0; 2048];
        let length = self.stat.read_at(&mut buffer, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        if let Some(stat) = Stat::parse(&text) {
            scrape.set(CPU, &[], (stat.user_ticks + stat.system_ticks) / self.ticks_per_second);
            scrape.set(RESIDENT, &[], stat.resident_pages * self.page_bytes);
            scrape.set(VIRTUAL, &[], stat.virtual_bytes);
            scrape.set(THREADS, &[], stat.threads);
            if let Some(booted_at) = self.booted_at {
                scrape.set(START, &[], booted_at + stat.start_ticks / self.ticks_per_second);
            }
        }
        if let Some(folder) = &mut self.descriptors {
            let entries = folder.iter().map_while(Result::ok);
            let numbers = entries.filter(|entry| entry.file_name().to_bytes().first().is_some_and(u8::is_ascii_digit));
            scrape.set(OPEN_FDS, &[], numbers.count() as f64);
        }
        if let Some(most) = self.descriptors_max {
            scrape.set(MAX_FDS, &[], most);
        }
    }
}

fn system_value(variable: SysconfVar) -> io::Result<f64> {
    let value = sysconf(variable)?.ok_or_else(|| io::Error::other("the system does not tell its limits"))?;
    Ok(value as f64)
}

/// The fields of `/proc/self/stat` that are shown.
struct Stat {
    user_ticks: f64,
    system_ticks: f64,
    threads: f64,
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    /// The command's name is in parentheses and may contain anything, so fields are counted after the last parenthesis.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
        // The first field after it is number 3.
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self {
            user_ticks: field(14)?,
            system_ticks: field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn booted_at(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The soft limit; none where it is "unlimited".
fn descriptors_max(limits: &str) -> Option<f64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;
    use crate::exposition::Format;

    fn value(process: &mut Process, family: Family) -> f64 {
        let mut scrape = Scrape::default();
        process.collect(&mut scrape);
        let text = String::from_utf8(Format::Text.encode(&scrape.finish()).unwrap()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(family.name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {} in {text}", family.name)).parse().unwrap()
    }

    #[test]
    fn the_process_is_measured_at_each_scrape() {
        let mut process = Process::open().unwrap();
        assert!(value(&mut process, RESIDENT) > 500_000.0);
        assert!(value(&mut process, VIRTUAL) >= value(&mut process, RESIDENT));
        assert!(value(&mut process, THREADS) >= 1.0);
        assert!(value(&mut process, MAX_FDS) >= 8.0);
        let started = value(&mut process, START);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(started <= now + 2.0 && started > now - 86_400.0, "{started} of {now}");
        // Files that are opened later are counted, so the folder is read anew each time.
        let before = value(&mut process, OPEN_FDS);
        let opened: Vec<File> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        assert!(before >= 2.0 && value(&mut process, OPEN_FDS) > before + 50.0);
        drop(opened);
    }

    #[test]
    fn spaces_and_parentheses_in_the_command_do_not_shift_fields() {
        let text = "42 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 7 0 1000 4096 3 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.user_ticks, stat.system_ticks, stat.threads), (250.0, 50.0, 7.0));
        assert_eq!((stat.start_ticks, stat.virtual_bytes, stat.resident_pages), (1000.0, 4096.0, 3.0));
        assert!(Stat::parse("42 (a").is_none() && Stat::parse("42 (a) S 1").is_none());
        assert_eq!(descriptors_max("Max open files            1024  4096  files\n"), Some(1024.0));
        assert_eq!(descriptors_max("Max open files            unlimited  4096  files\n"), None);
        assert_eq!(booted_at("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }
}
