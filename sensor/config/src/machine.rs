//! Facts about the machine. Settings that depend on the machine are resolved and checked by these alone, so that a test
//! can give a machine of its own.

use std::fs;
use std::thread;

/// Facts about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub host_name: String,
    /// CPUs that this process may use, at least one.
    pub cpus: usize,
    /// Highest number of a CPU, if known.
    pub cpu_last: Option<usize>,
    /// Memory, if known.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// This machine, from proc(5) and `/sys/devices/system/cpu/possible`.
    pub fn detect() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let host_name = read("/proc/sys/kernel/hostname").trim().to_owned();
        Self {
            host_name: if host_name.is_empty() { "vigie".to_owned() } else { host_name },
            cpus: thread::available_parallelism().map_or(1, usize::from),
            cpu_last: cpu_last(&read("/sys/devices/system/cpu/possible")),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
        }
    }
}

/// The end of a list such as `0-3,8-11`.
fn cpu_last(possible: &str) -> Option<usize> {
    possible.trim().rsplit([',', '-']).next()?.parse().ok()
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_kernel_are_read() {
        assert_eq!(cpu_last("0-3,8-11\n"), Some(11));
        assert_eq!(cpu_last("0\n"), Some(0));
        assert_eq!(cpu_last(""), None);
        assert_eq!(memory_bytes("MemTotal:       4008 kB\nMemFree: 1 kB\n"), Some(4_104_192));
        assert_eq!(memory_bytes("nothing"), None);
        let machine = Machine::detect();
        assert!(machine.cpus >= 1 && !machine.host_name.is_empty());
    }
}
