//! The audit: who was revealed to whom and why, which policy was in use, who may use what. Lines are appended to a file of
//! their own that only its owner can read, as EVE alerts of generator 8, and are on the disk before the act goes on.
//!
//! No line has a client's address: where a text that somebody typed names one, the text is left out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use vigie_journal::{eve, names_an_address, record};

/// Permissions of the file.
const MODE: u32 = 0o600;
/// Longest text of a line that somebody typed, bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// What stands in place of a text that names an address.
const LEFT_OUT: &str = "(left out: it names an address)";

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvent<'a> {
    /// A policy is in use from now on; hashes of its texts.
    PolicyChanged {
        /// The one before; empty at a start.
        before: &'a str,
        /// The new one.
        after: &'a str,
    },
    /// Who is behind a pseudonym was told.
    Reveal {
        /// The pseudonym.
        pseudonym: &'a str,
        /// The period whose key was used.
        period: &'a str,
        /// Number of the case.
        case: &'a str,
        /// Why.
        reason: &'a str,
        /// Who asked.
        by: &'a str,
        /// Who agreed; empty if nobody had to.
        second_person: &'a str,
    },
    /// Pseudonyms have a new key.
    KeyRotated {
        /// The period of the old key.
        from: &'a str,
        /// The period of the new key.
        to: &'a str,
    },
    /// An entry was added to the register of derogations.
    DerogationAdded {
        /// Id of the entry.
        id: &'a str,
        /// Its services.
        services: &'a str,
        /// First day.
        from: &'a str,
        /// Last day.
        until: &'a str,
        /// Who approved it.
        approver: &'a str,
        /// Number of the decision.
        reference: &'a str,
        /// Who added it.
        by: &'a str,
    },
    /// An entry of the register of derogations ends early.
    DerogationEnded {
        /// Id of the entry.
        id: &'a str,
        /// Last day.
        last: &'a str,
        /// Who ended it.
        by: &'a str,
    },
    /// Somebody decided what an incident was.
    Disposition {
        /// Id of the incident, as it is written.
        incident: &'a str,
        /// `confirmed`, `false` or `excused`.
        disposition: &'a str,
        /// Why.
        note: &'a str,
        /// Who decided.
        by: &'a str,
    },
}

impl AuditEvent<'_> {
    /// The word in lines.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::PolicyChanged { .. } => "policy-changed",
            Self::Reveal { .. } => "reveal",
            Self::KeyRotated { .. } => "key-rotated",
            Self::DerogationAdded { .. } => "derogation-added",
            Self::DerogationEnded { .. } => "derogation-ended",
            Self::Disposition { .. } => "disposition",
        }
    }

    /// The id by kind of act, which never changes, and what a SIEM shows as its name.
    const fn signature(&self) -> (u32, &'static str) {
        match self {
            Self::PolicyChanged { .. } => (1, "vigie audit: the policy changed"),
            Self::Reveal { .. } => (2, "vigie audit: a pseudonym was revealed"),
            Self::KeyRotated { .. } => (3, "vigie audit: pseudonyms have a new key"),
            Self::DerogationAdded { .. } => (4, "vigie audit: a derogation was added"),
            Self::DerogationEnded { .. } => (5, "vigie audit: a derogation ends early"),
            Self::Disposition { .. } => (6, "vigie audit: an incident was decided"),
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let typed = |key, text: &str| (key, without_addresses(text));
        let plain = |key, text: &str| (key, text.to_owned());
        let mut facts = vec![plain("audit", self.as_str())];
        facts.extend(match *self {
            Self::PolicyChanged { before, after } => vec![plain("policy_before", before), plain("policy", after)],
            Self::Reveal { pseudonym, period, case, reason, by, second_person } => vec![
                plain("pseudonym", pseudonym),
                plain("pseudonym_period", period),
                typed("case", case),
                typed("reason", reason),
                typed("by", by),
                typed("second_person", second_person),
            ],
            Self::KeyRotated { from, to } => {
                vec![plain("pseudonym_period_before", from), plain("pseudonym_period", to)]
            }
            Self::DerogationAdded { id, services, from, until, approver, reference, by } => vec![
                typed("derogation", id),
                plain("services", services),
                plain("from", from),
                plain("until", until),
                typed("approver", approver),
                typed("reference", reference),
                typed("by", by),
            ],
            Self::DerogationEnded { id, last, by } => {
                vec![typed("derogation", id), plain("until", last), typed("by", by)]
            }
            Self::Disposition { incident, disposition, note, by } => vec![
                plain("incident", incident),
                plain("disposition", disposition),
                typed("note", note),
                typed("by", by),
            ],
        });
        facts
    }
}

fn without_addresses(text: &str) -> String {
    if names_an_address(text) {
        return LEFT_OUT.to_owned();
    }
    let kept = text.char_indices().take_while(|(at, character)| at + character.len_utf8() <= TEXT_BYTES_MAX);
    kept.map(|(_, character)| character).collect()
}

/// The user who runs this process: who called sudo, if somebody did.
pub fn this_user() -> String {
    let of_sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty() && geteuid().is_root());
    of_sudo.unwrap_or_else(|| {
        let id = nix::unistd::getuid();
        nix::unistd::User::from_uid(id).ok().flatten().map_or_else(|| id.to_string(), |user| user.name)
    })
}

/// The file of audit lines.
#[derive(Debug)]
pub struct Audit {
    file: File,
    sensor_name: Option<String>,
}

impl Audit {
    /// Opens the file, or makes it. What root makes belongs to the owner of the folder, so that the sensor can append to it.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file of its own.
    pub fn open(path: &Path, sensor_name: Option<String>) -> io::Result<Self> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let open = |is_new: bool| {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create_new(is_new).mode(MODE).custom_flags(flags).open(path)
        };
        let (file, is_new) = match open(false) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (open(true)?, true),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        // Who can write to the folder must not make root append to another file.
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(io::Error::other("not a regular file of its own"));
        }
        if is_new && geteuid().is_root() {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = folder.metadata()?;
            fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
        }
        if metadata.mode() & 0o777 != MODE {
            file.set_permissions(PermissionsExt::from_mode(MODE))?;
        }
        Ok(Self { file, sensor_name })
    }

    /// Appends a line. When this returns, it is on the disk.
    ///
    /// # Errors
    /// It is not: what the line is about must not be done.
    pub fn write(&self, event: &AuditEvent<'_>) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.write_at(event, now.as_nanos() as u64)
    }

    fn write_at(&self, event: &AuditEvent<'_>, timestamp_ns: u64) -> io::Result<()> {
        let mut line = Vec::new();
        if self.has_torn_line()? {
            line.push(b'\n');
        }
        let (signature_id, signature) = event.signature();
        let facts = event.facts();
        let audit = record::Audit { timestamp_ns, signature_id, signature, facts: &facts };
        eve::encode_audit(&audit, self.sensor_name.as_deref(), &mut line);
        // One write at the end of the file: lines of several processes do not mix.
        (&self.file).write_all(&line)?;
        self.file.sync_all()
    }

    /// Whether the last line was cut by a crash: it stays, and the next one begins on a line of its own.
    fn has_torn_line(&self) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            self.file.read_exact_at(&mut last, length - 1)?;
        }
        Ok(last != *b"\n")
    }

    /// The whole lines from a place in the file on, at most a megabyte. The place goes back to 0 in a file that is shorter.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines_from(&self, offset: &mut u64) -> io::Result<Vec<u8>> {
        const BYTES_MAX: u64 = 1 << 20;
        let length = self.file.metadata()?.len();
        if length < *offset {
            *offset = 0;
        }
        let mut lines = vec![0; (length - *offset).min(BYTES_MAX) as usize];
        self.file.read_exact_at(&mut lines, *offset)?;
        let end = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        lines.truncate(end);
        Ok(lines)
    }

    /// All lines.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lines(&self) -> io::Result<Vec<String>> {
        let mut text = String::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.read_to_string(&mut text)?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const REVEAL: AuditEvent<'_> = AuditEvent::Reveal {
        pseudonym: "100.115.72.131",
        period: "2026-11",
        case: "2026-7",
        reason: "a second finding",
        by: "dupont",
        second_person: "",
    };

    #[test]
    fn a_line_is_appended_to_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path, Some("tap".to_owned())).unwrap();
        audit.write_at(&REVEAL, 1_795_805_894_000_000_000).unwrap();
        let other = Audit::open(&path, None).unwrap();
        other.write(&AuditEvent::KeyRotated { from: "2026-11", to: "2026-12" }).unwrap();
        audit.write(&AuditEvent::PolicyChanged { before: "", after: "00ff" }).unwrap();
        let lines = audit.lines().unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[0],
            "{\"timestamp\":\"2026-11-27T18:58:14.000000+0000\",\"event_type\":\"alert\",\"host\":\"tap\",\
             \"alert\":{\"action\":\"allowed\",\"gid\":8,\"signature_id\":2,\"rev\":1,\
             \"signature\":\"vigie audit: a pseudonym was revealed\",\"category\":\"Not Suspicious Traffic\",\
             \"severity\":4,\"metadata\":{\"audit\":[\"reveal\"],\"pseudonym\":[\"100.115.72.131\"],\
             \"pseudonym_period\":[\"2026-11\"],\"case\":[\"2026-7\"],\"reason\":[\"a second finding\"],\"by\":[\"dupont\"]}}}"
        );
        assert!(lines[1].contains(r#""audit":["key-rotated"],"pseudonym_period_before":["2026-11"]"#), "{}", lines[1]);
        assert!(lines[2].contains(r#""audit":["policy-changed"],"policy":["00ff"]"#), "{}", lines[2]);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        Audit::open(&path, None).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_torn_line_does_not_swallow_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, "{\"timestamp\":").unwrap();
        let audit = Audit::open(&path, None).unwrap();
        audit.write(&REVEAL).unwrap();
        audit.write(&REVEAL).unwrap();
        let lines = audit.lines().unwrap();
        assert_eq!((lines.len(), lines[0].as_str()), (3, "{\"timestamp\":"));
        assert!(lines[1..].iter().all(|line| line.starts_with('{') && line.ends_with('}')), "{lines:?}");
    }

    #[test]
    fn links_and_other_kinds_of_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("passwd"), "root\n").unwrap();
        std::os::unix::fs::symlink(path("passwd"), path("link")).unwrap();
        fs::hard_link(path("passwd"), path("hard")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        for name in ["link", "hard", "folder", "no/such"] {
            assert!(Audit::open(&path(name), None).is_err(), "{name}");
        }
        assert_eq!(fs::read_to_string(path("passwd")).unwrap(), "root\n");
    }

    #[test]
    fn texts_that_name_addresses_are_left_out() {
        for text in [
            "of 10.20.0.7",
            "(10.20.0.7)",
            "10.20.0.7:443",
            "10.20.0.0/16",
            "client 2001:db8::7, twice",
            "[fe80::1%eth0]",
            "02:00:5e:10:00:07",
            "02-00-5E-10-00-07.",
            "0200.5e10.0007",
            "2001:db8::",
        ] {
            assert!(names_an_address(text), "{text}");
            let note = AuditEvent::Disposition { incident: "k", disposition: "false", note: text, by: "dupont" };
            assert!(note.facts().contains(&("note", LEFT_OUT.to_owned())), "{text}");
        }
        for text in ["", "case 2026-7", "at 12:30", "SG-2026-17", "version 1.2.3", "2026-11-27", "a: b", "fe: no", "::"]
        {
            assert!(!names_an_address(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_address_is_found_in_every_sentence(v4: std::net::Ipv4Addr, v6: std::net::Ipv6Addr) {
            let texts = [(format!("phone {v4}."), v4.is_unspecified()), (format!("phone <{v6}>"), v6.is_unspecified())];
            for (text, is_unspecified) in texts {
                prop_assert!(names_an_address(&text) || is_unspecified);
            }
        }

        #[test]
        fn any_text_makes_one_line(text: String) {
            let facts = AuditEvent::DerogationEnded { id: &text, last: "2026-11-27", by: &text }.facts();
            let mut out = Vec::new();
            let audit = record::Audit { timestamp_ns: 0, signature_id: 5, signature: "", facts: &facts };
            eve::encode_audit(&audit, None, &mut out);
            prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        }
    }
}
