//! What the kernel says of this process (proc(5)). All files are opened at start and read again from there, so that it
//! works after the sensor has shut itself in; what cannot be read is left out.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::Dir;

use super::families::Family;

/// The files, open.
#[derive(Debug)]
pub(super) struct Process {
    stat: File,
    descriptors: Option<Dir>,
    ticks_per_second: f64,
    page_bytes: f64,
    booted_at: Option<f64>,
    descriptors_max: Option<f64>,
}

impl Process {
    pub(super) fn open() -> io::Result<Self> {
        let booted_at = std::fs::read_to_string("/proc/stat").ok().and_then(|text| booted_at(&text));
        let limits = std::fs::read_to_string("/proc/self/limits").ok();
        Ok(Self {
            stat: File::open("/proc/self/stat")?,
            descriptors: File::open("/proc/self/fd").ok().and_then(|folder| Dir::new(folder).ok()),
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            page_bytes: rustix::param::page_size() as f64,
            booted_at,
            descriptors_max: limits.and_then(|text| descriptors_max(&text)),
        })
    }

    /// What can be told now.
    pub(super) fn read(&mut self) -> Vec<(Family, f64)> {
        let mut facts = Vec::new();
        let mut buffer = [0; 2048];
        let length = self.stat.read_at(&mut buffer, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        if let Some(stat) = Stat::parse(&text) {
            facts.push((Family::ProcessCpu, (stat.user_ticks + stat.system_ticks) / self.ticks_per_second));
            facts.push((Family::ProcessResident, stat.resident_pages * self.page_bytes));
            facts.push((Family::ProcessVirtual, stat.virtual_bytes));
            facts.push((Family::ProcessThreads, stat.threads));
            if let Some(booted_at) = self.booted_at {
                facts.push((Family::ProcessStart, booted_at + stat.start_ticks / self.ticks_per_second));
            }
        }
        if let Some(folder) = &mut self.descriptors {
            folder.rewind();
            let count = std::iter::from_fn(|| folder.read()).map_while(Result::ok);
            let count = count.filter(|entry| entry.file_name().to_bytes().first().is_some_and(u8::is_ascii_digit));
            facts.push((Family::ProcessOpenFds, count.count() as f64));
        }
        facts.extend(self.descriptors_max.map(|most| (Family::ProcessMaxFds, most)));
        facts
    }
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
    /// The command's name stands in parentheses and may hold anything, so fields are counted after the last one.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
        // The first after it is field 3.
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

    fn value(process: &mut Process, family: Family) -> f64 {
        process.read().iter().find(|(known, _)| *known == family).unwrap().1
    }

    #[test]
    fn the_process_knows_itself() {
        let mut process = Process::open().unwrap();
        assert!(value(&mut process, Family::ProcessResident) > 500_000.0);
        assert!(value(&mut process, Family::ProcessVirtual) >= value(&mut process, Family::ProcessResident));
        assert!(value(&mut process, Family::ProcessThreads) >= 1.0);
        assert!(value(&mut process, Family::ProcessMaxFds) >= 8.0);
        let started = value(&mut process, Family::ProcessStart);
        let now = super::super::shared::epoch_seconds(std::time::SystemTime::now());
        assert!(started <= now + 2.0 && started > now - 86_400.0, "{started} of {now}");
        assert!(value(&mut process, Family::ProcessOpenFds) >= 2.0);
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_is_passed_over() {
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
