//! What the kernel reports about this process (proc_pid_status(5)): the confirmation that a measure is in force.
//!
//! The crate `procfs` is not used: it reads the whole file and fails on any field that it does not understand, and a
//! field that says nothing about privileges must not prevent the start.

use std::io;

/// The lines of `/proc/self/status` about privileges. In a process with several threads they are those of the first
/// thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Real, effective, saved and file system user.
    pub users: Vec<u32>,
    /// Real, effective, saved and file system group.
    pub groups: Vec<u32>,
    /// Supplementary groups.
    pub other_groups: Vec<u32>,
    /// Threads of the process.
    pub threads: u32,
    /// Inheritable, permitted, effective, bounding and ambient capabilities, as bits.
    pub capabilities: [u64; 5],
    /// Whether executing a program cannot gain privileges.
    pub no_new_privs: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
}

/// The names of [`Status::capabilities`], as the kernel writes them.
const CAPABILITY_SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

impl Status {
    /// Reads it.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/self/status")?))
    }

    fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let numbers = || value.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>();
            let number = || value.trim().parse().unwrap_or_default();
            match name {
                "Uid" => status.users = numbers(),
                "Gid" => status.groups = numbers(),
                "Groups" => status.other_groups = numbers(),
                "Threads" => status.threads = number(),
                "NoNewPrivs" => status.no_new_privs = number() == 1,
                "Seccomp" => status.seccomp = number(),
                _ => {
                    let sets = CAPABILITY_SETS.iter().zip(&mut status.capabilities);
                    for (_, set) in sets.filter(|(set, _)| **set == name) {
                        // A value that cannot be read must not count as "none".
                        *set = u64::from_str_radix(value.trim(), 16).unwrap_or(u64::MAX);
                    }
                }
            }
        }
        status
    }

    /// Whether all sets are empty.
    pub fn no_capabilities(&self) -> bool {
        self.capabilities == [0; 5]
    }

    /// The sets that are not empty: `CapBnd=2000`.
    pub fn capabilities_in_words(&self) -> String {
        let sets = CAPABILITY_SETS.iter().zip(self.capabilities).filter(|(_, bits)| *bits != 0);
        let words: Vec<String> = sets.map(|(name, bits)| format!("{name}={bits:x}")).collect();
        match words.is_empty() {
            true => "none".to_owned(),
            false => words.join(" "),
        }
    }

    /// Whether real, effective, saved and file system ids are all these, so that the process cannot change back.
    pub fn is(&self, user: u32, group: u32) -> bool {
        let all = |ids: &[u32], wanted| ids.len() == 4 && ids.iter().all(|id| *id == wanted);
        all(&self.users, user) && all(&self.groups, group)
    }

    /// The effective user.
    pub fn user(&self) -> u32 {
        self.users.get(1).copied().unwrap_or(u32::MAX)
    }

    /// The effective group.
    pub fn group(&self) -> u32 {
        self.groups.get(1).copied().unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_kernel_are_read() {
        let status = Status::parse(
            "Name:\tvigie\nUid:\t0\t998\t998\t998\nGid:\t7\t7\t7\t7\nGroups:\t4 27 \nThreads:\t3\n\
             CapInh:\t0000000000000000\nCapPrm:\t0000000000002000\nCapEff:\t0000000000000000\n\
             CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t4\n",
        );
        assert_eq!((status.user(), status.group(), status.threads), (998, 7, 3));
        assert_eq!(status.other_groups, [4, 27]);
        assert!(!status.is(998, 7), "the real user is still 0");
        assert!(status.no_new_privs && !status.no_capabilities());
        assert_eq!(status.capabilities_in_words(), "CapPrm=2000 CapBnd=1ffffffffff");
        assert_eq!(status.seccomp, 2);
    }

    #[test]
    fn unreadable_values_do_not_count_as_harmless() {
        let status = Status::parse("CapEff:\tmany\nUid:\t5\n");
        assert!(!status.no_capabilities());
        assert!(!status.is(5, 5));
    }
}
