//! What a confined process can still do, and what it cannot: each test starts `confined` (`src/bin/confined.rs`), which
//! confines itself as the sensor does and then tries things. Needs root; without it the tests skip and say so.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use vigie_skip::skipped;

/// An unprivileged user whom every system has.
const USER: &str = "nobody";
const USER_ID: u32 = 65_534;

/// "Operation not permitted", as of seccomp, and "Permission denied", as of Landlock and file permissions.
const EPERM: &str = "error 1";
const EACCES: &str = "error 13";

struct Outcome {
    said: String,
    lines: BTreeMap<String, String>,
    errors: String,
    code: Option<i32>,
    signal: Option<i32>,
}

impl Outcome {
    /// What came of a step, or of a measure.
    fn of(&self, step: &str) -> &str {
        let said = || format!("nothing of {step:?} in:\n{}\n{}", self.said, self.errors);
        self.lines.get(step).unwrap_or_else(|| panic!("{}", said()))
    }
}

fn root() -> bool {
    let root = fs::metadata("/proc/self").is_ok()
        && Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|s| s.success());
    if !root {
        skipped("needs root and network namespaces");
    }
    root
}

fn run_as(user: Option<u32>, settings: &[&str], steps: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confined"));
    command.args(settings).arg("--").args(steps).env("RUST_BACKTRACE", "1");
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().filter_map(|line| line.split_once(": "));
    let lines = lines.map(|(step, result)| (step.to_owned(), result.to_owned())).collect();
    let errors = String::from_utf8(output.stderr).unwrap();
    Outcome { lines, said, errors, code: output.status.code(), signal: output.status.signal() }
}

fn run(settings: &[&str], steps: &[&str]) -> Outcome {
    run_as(None, settings, steps)
}

/// A sensor's own files: configuration and signatures that it reads, and a folder of events that it writes.
struct Own {
    folder: tempfile::TempDir,
}

impl Own {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["signatures", "events", "elsewhere"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["vigie.toml", "signatures/a.toml", "events/eve.json", "elsewhere/other.json"] {
            fs::write(folder.path().join(name), "old\n").unwrap();
        }
        for name in ["events", "events/eve.json", "elsewhere", "elsewhere/other.json"] {
            chown(folder.path().join(name), Some(USER_ID), None).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A step with paths in this folder.
    fn step(&self, step: &str, names: &[&str]) -> String {
        let paths = names.iter().map(|name| self.path(name));
        std::iter::once(step.to_owned()).chain(paths).collect::<Vec<_>>().join(" ")
    }

    fn settings(&self) -> Vec<String> {
        vec![
            format!("user={USER}"),
            format!("readable={}", self.path("vigie.toml")),
            format!("readable={}", self.path("signatures")),
            format!("writable={}", self.path("events")),
        ]
    }

    fn run(&self, more: &[&str], steps: &[&str]) -> Outcome {
        let settings = self.settings();
        let settings: Vec<&str> = settings.iter().map(String::as_str).chain(more.iter().copied()).collect();
        run(&settings, steps)
    }
}

#[test]
fn no_rights_are_left() {
    if !root() {
        return;
    }
    let outcome = Own::new().run(&[], &["status", "thread status"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.said);
    let none = "CapInh: 0000000000000000, CapPrm: 0000000000000000, CapEff: 0000000000000000, \
                CapBnd: 0000000000000000, CapAmb: 0000000000000000";
    let expected = format!(
        "ok Uid: 65534 65534 65534 65534, Gid: 65534 65534 65534 65534, Groups:, {none}, NoNewPrivs: 1, Seccomp: 2"
    );
    assert_eq!(outcome.of("status"), expected);
    assert_eq!(outcome.of("thread status"), expected, "of a thread made afterwards");
    for measure in ["no_new_privs", "core_files", "user", "capabilities", "paths", "landlock", "seccomp"] {
        assert!(outcome.of(measure).starts_with("done"), "{}", outcome.said);
    }
}

#[test]
fn own_files_are_in_reach_and_no_others() {
    if !root() {
        return;
    }
    let own = Own::new();
    let allowed = [
        own.step("read", &["vigie.toml"]),
        own.step("list", &["signatures"]),
        own.step("read", &["signatures/a.toml"]),
        own.step("append", &["events/eve.json"]),
        own.step("rename", &["events/eve.json", "events/eve.json.1"]),
        own.step("create", &["events/eve.json"]),
        own.step("truncate", &["events/eve.json"]),
        own.step("remove", &["events/eve.json.1"]),
        own.step("thread append", &["events/eve.json"]),
        "read /proc/self/stat".to_owned(),
        "read /proc/self/net/dev".to_owned(),
        "list /proc/self/fd".to_owned(),
        "read /proc/stat".to_owned(),
    ];
    let refused = [
        "read /etc/shadow".to_owned(),
        // Anybody may read this one, by its permissions.
        "read /etc/passwd".to_owned(),
        "thread read /etc/passwd".to_owned(),
        "list /".to_owned(),
        "read /proc/1/status".to_owned(),
        own.step("append", &["vigie.toml"]),
        own.step("create", &["signatures/b.toml"]),
        // And this folder is the user's own.
        own.step("list", &["elsewhere"]),
        own.step("append", &["elsewhere/other.json"]),
        own.step("create", &["elsewhere/new.json"]),
        own.step("truncate", &["elsewhere/other.json"]),
        own.step("remove", &["elsewhere/other.json"]),
        "create /tmp/vigie-privilege-test".to_owned(),
    ];
    let out = own.step("rename", &["events/eve.json", "elsewhere/eve.json"]);
    let folder = own.step("folder", &["events/folder"]);
    let steps: Vec<&str> = allowed.iter().chain(&refused).chain([&out, &folder]).map(String::as_str).collect();
    let outcome = own.run(&[], &steps);
    for step in &allowed {
        assert!(outcome.of(step).starts_with("ok"), "{step}: {}", outcome.of(step));
    }
    for step in &refused {
        assert_eq!(outcome.of(step), EACCES, "{step}");
    }
    assert_eq!(outcome.of(&out), EACCES, "moving to another folder");
    assert_eq!(outcome.of(&folder), EPERM);
    assert_eq!(fs::read_to_string(own.path("events/eve.json")).unwrap(), "line\n");
    assert_eq!(fs::read_to_string(own.path("elsewhere/other.json")).unwrap(), "old\n");
}

/// The kernel forgets directories of `/proc` when memory is short, and with them the rules for them.
#[test]
fn own_numbers_stay_in_reach_when_memory_was_short() {
    if !root() {
        return;
    }
    if fs::OpenOptions::new().write(true).open("/proc/sys/vm/drop_caches").is_err() {
        return skipped("the kernel's caches cannot be dropped here");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_confined"));
    command.args(["user=nobody", "--", "read /proc/self/stat", "wait", "read /proc/self/stat", "read /proc/stat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "waiting"));
    for _ in 0..4 {
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let after: Vec<String> = lines.collect();
    assert_eq!(after, ["wait: ok", "read /proc/self/stat: ok", "read /proc/stat: ok"]);
    child.wait().unwrap();
}

/// The same user without the measures can do what the measures are to forbid; else the tests above prove nothing.
#[test]
fn without_the_measures_it_would_be_possible() {
    if !root() {
        return;
    }
    let own = Own::new();
    let append = own.step("append", &["elsewhere/other.json"]);
    let steps = [append.as_str(), "read /etc/passwd", "socket 2 2 0", "code", "read /etc/shadow", "socket 17 3 0"];
    let outcome = own.run(&["landlock=off", "seccomp=off"], &steps);
    for step in &steps[..4] {
        assert_eq!(outcome.of(step), "ok", "{step}");
    }
    // These two take the loss of user and capabilities alone.
    assert_eq!(outcome.of("read /etc/shadow"), EACCES);
    assert_eq!(outcome.of("socket 17 3 0"), EPERM);
    assert!(outcome.of("landlock").starts_with("off") && outcome.of("seccomp").starts_with("off"));
}

#[test]
fn calls_that_nobody_needs_are_refused() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.path().join("notify");
    let listener = UnixDatagram::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let notify = format!("notify {}", socket.display());
    let refused = [
        "socket 17 3 0", // AF_PACKET
        "thread socket 17 3 0",
        "socket 2 1 0", // TCP, when no port is named
        "socket 2 2 0", // UDP
        "socket 10 2 0",
        "socket 2 3 1",  // raw
        "socket 1 1 0",  // local streams
        "socket 16 3 9", // the audit log
        "socket 38 5 0", // the kernel's cryptography
        "code",
        "spawn /bin/true",
        "signal 1",
        "limit",
        &format!("call {}", libc::SYS_memfd_create),
        &format!("call {}", libc::SYS_personality),
        &format!("call {}", libc::SYS_sendmsg),
        &format!("call {}", libc::SYS_mknodat),
        "call 100000",
    ];
    let allowed = ["socket 1 2 0", "socket 16 3 0", "interface lo", notify.as_str(), "panic"];
    let steps: Vec<&str> = refused.iter().chain(&allowed).copied().collect();
    let outcome = Own::new().run(&[], &steps);
    for step in refused {
        assert_eq!(outcome.of(step), EPERM, "{step}");
    }
    for step in allowed {
        assert!(outcome.of(step).starts_with("ok"), "{step}: {}", outcome.of(step));
    }
    let mut message = [0; 16];
    let length = listener.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1");
    // A panic is told with its place, and a backtrace finds the names in the program's own file.
    assert!(outcome.errors.contains("on purpose") && outcome.errors.contains("confined.rs"), "{}", outcome.errors);
}

#[test]
fn calls_of_an_intruder_kill() {
    if !root() {
        return;
    }
    let own = Own::new();
    let calls = [libc::SYS_ptrace, libc::SYS_bpf, libc::SYS_io_uring_setup, libc::SYS_setresuid, libc::SYS_unshare];
    let calls = calls.map(|call| format!("call {call}"));
    for step in calls.iter().map(String::as_str).chain(["execute /bin/true", "thread execute /bin/true"]) {
        let outcome = own.run(&[], &["status", step, "status"]);
        assert_eq!(outcome.signal, Some(libc::SIGSYS), "{step}: {}", outcome.said);
        assert!(!outcome.lines.contains_key(step));
    }
    let outcome = own.run(&[], &["abort"]);
    assert_eq!(outcome.signal, Some(libc::SIGABRT), "aborting is allowed");
}

#[test]
fn only_the_named_ports_are_reached() {
    if !root() {
        return;
    }
    let [open, closed] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [open, closed] = [&open, &closed].map(|listener| listener.local_addr().unwrap());
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = [format!("tcp-connect={}", open.port()), format!("tcp-bind={}", free.port())];
    let steps =
        [format!("connect {open}"), format!("connect {closed}"), format!("listen {free}"), "listen 127.0.0.1:0".into()];
    let steps: Vec<&str> = steps.iter().map(String::as_str).chain(["socket 2 2 0", "socket 2 1 262"]).collect();
    let outcome = Own::new().run(&settings.each_ref().map(String::as_str), &steps);
    let results: Vec<&str> = steps.iter().map(|step| outcome.of(step)).collect();
    assert_eq!(results, ["ok", EACCES, "ok", EACCES, EPERM, EPERM]);
}

#[test]
fn capture_goes_on_and_nothing_can_be_sent() {
    if !root() {
        return;
    }
    let own = Own::new();
    let outcome =
        own.run(&["capture"], &["count 5000", "inject", "duplicate", "close", "write", "count 100", "ring 1000"]);
    assert_eq!(outcome.of("count 5000"), "ok received 10000 kernel 10000 dropped 0", "{}", outcome.errors);
    for step in ["inject", "duplicate", "close", "write"] {
        assert_eq!(outcome.of(step), EPERM, "{step}");
    }
    assert_eq!(outcome.of("count 100"), "ok received 200 kernel 200 dropped 0");
    // A socket opened in reserve becomes a ring, bound and in a fanout group, without privileges.
    assert_eq!(outcome.of("ring 1000"), "ok received 2000 kernel 2000 dropped 0");
    assert!(outcome.of("seccomp").ends_with("2 capture sockets cannot send"));
    // Without seccomp it can be sent on, so it was seccomp that refused.
    let outcome = own.run(&["capture", "seccomp=off"], &["inject", "count 100"]);
    assert!(outcome.of("inject").starts_with("ok"));
}

#[test]
fn nothing_can_be_sent_on_sockets_of_libpcap() {
    if !root() {
        return;
    }
    let own = Own::new();
    let outcome = own.run(&["pcap"], &["inject", "duplicate", "close", "write"]);
    for step in ["inject", "duplicate", "close", "write"] {
        assert_eq!(outcome.of(step), EPERM, "{step}");
    }
    assert!(outcome.of("seccomp").ends_with("1 capture sockets cannot send"), "{}", outcome.of("seccomp"));
    let outcome = own.run(&["pcap", "seccomp=off"], &["inject"]);
    assert!(outcome.of("inject").starts_with("ok"), "{}", outcome.of("inject"));
}

#[test]
fn mistakes_are_told_before_anything_is_given_up() {
    if !root() {
        return;
    }
    let own = Own::new();
    let outcome = run(&["user=no-such-user"], &["status"]);
    assert_eq!(outcome.code, Some(78));
    assert!(outcome.of("refused").contains("useradd --system"), "{}", outcome.said);
    let outcome = own.run(&["writable=/no/such/folder"], &[]);
    assert!(outcome.of("refused").contains("install -d -m 750 -o nobody /no/such/folder"), "{}", outcome.said);
    // This folder is root's: found out at start, not when the file is rotated.
    let outcome = own.run(&[&format!("writable={}", own.path("signatures"))], &[]);
    assert!(outcome.of("refused").contains("cannot be written"), "{}", outcome.said);
    assert!(outcome.of("refused").contains("name one that belongs to nobody"), "{}", outcome.said);
    fs::set_permissions(own.path("vigie.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let outcome = own.run(&[], &[]);
    assert!(outcome.of("refused").contains("vigie.toml cannot be read"), "{}", outcome.said);
}

#[test]
fn what_a_kernel_lacks_is_told_and_decides() {
    if !root() {
        return;
    }
    let own = Own::new();
    for measure in ["landlock", "seccomp"] {
        let without = format!("without={measure}");
        let outcome = own.run(&[&without, &format!("{measure}=required")], &["status"]);
        assert_eq!(outcome.code, Some(78), "{}", outcome.said);
        assert!(outcome.of("refused").starts_with(&format!("{measure} is required, but ")), "{}", outcome.said);
        let outcome = own.run(&[&without, &format!("{measure}=preferred")], &["read /etc/passwd", "socket 2 2 0"]);
        assert!(outcome.of(measure).starts_with("unavailable: "), "{}", outcome.said);
        // Each stands without the other.
        let (file, socket) = if measure == "landlock" { ("ok", EPERM) } else { (EACCES, "ok") };
        assert_eq!((outcome.of("read /etc/passwd"), outcome.of("socket 2 2 0")), (file, socket));
    }
}

/// As started by systemd with `User=`: nothing to change, all the rest is done.
#[test]
fn an_unprivileged_start_is_fine() {
    if !root() {
        return;
    }
    let own = Own::new();
    let program = Path::new(env!("CARGO_BIN_EXE_confined"));
    let reachable = |path: &Path| fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o001 != 0);
    if !program.ancestors().all(reachable) {
        return skipped(format_args!("{USER} cannot reach {}", program.display()));
    }
    let events = format!("writable={}", own.path("events"));
    let outcome = run_as(Some(USER_ID), &["user=nobody", &events], &["status", "read /etc/passwd", "spawn /bin/true"]);
    assert!(outcome.of("user").starts_with("already so"), "{}", outcome.said);
    assert!(outcome.of("status").contains("CapPrm: 0000000000000000, CapEff: 0000000000000000"));
    assert_eq!((outcome.of("read /etc/passwd"), outcome.of("spawn /bin/true")), (EACCES, EPERM));
    let outcome = run_as(Some(USER_ID), &["user=daemon", &events], &["status"]);
    assert!(outcome.of("user").starts_with("unavailable: changing user needs CAP_SETUID"), "{}", outcome.said);
    // Nobody named: stays who we are, which is well for who is not root, and root without capabilities is not root.
    let outcome = run_as(Some(USER_ID), &[&events], &["status"]);
    assert!(outcome.of("user").starts_with("already so"), "{}", outcome.said);
    let outcome = run(&[], &["read /etc/shadow", "status"]);
    assert!(outcome.of("user").starts_with("off; no user is configured"), "{}", outcome.said);
    assert_eq!(outcome.of("read /etc/shadow"), EACCES);
}

/// Runs `confined` as systemd starts the sensor: an unprivileged user with these capabilities. Gives what it said.
fn run_with_capabilities(set: &str, arguments: &[&str]) -> String {
    let own = Own::new();
    // The program may lie where this user cannot reach it.
    let program = own.path("confined");
    fs::copy(env!("CARGO_BIN_EXE_confined"), &program).unwrap();
    let writable = format!("writable={}", own.path("events"));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set", set, "--inh-caps", set]);
    command.args(["--ambient-caps", set, "--", &program, "user=nobody", "packet", &writable]).args(arguments);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("user: already so; nobody"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// As `vigie.service` starts it, with the capability to open capture sockets.
#[test]
fn capabilities_given_by_systemd_are_given_up() {
    if !root() {
        return;
    }
    let said = run_with_capabilities("-all,+net_raw", &["--", "status", "inject", "spawn /bin/true"]);
    let bounded = "capabilities: done; none left; the bounding set (CapBnd=2000) gives none back";
    assert!(said.contains(bounded), "{said}");
    let status = "CapInh: 0000000000000000, CapPrm: 0000000000000000, CapEff: 0000000000000000, \
                  CapBnd: 0000000000002000, CapAmb: 0000000000000000, NoNewPrivs: 1, Seccomp: 2";
    assert!(said.contains(status), "{said}");
    assert!(said.contains("inject: error 1") && said.contains("spawn /bin/true: error 1"), "{said}");
}

#[test]
fn the_bounding_set_is_emptied_where_that_is_allowed() {
    if !root() {
        return;
    }
    let said = run_with_capabilities("-all,+net_raw,+setpcap", &["--", "status", "inject"]);
    assert!(said.contains("capabilities: done; none left in any set, including the bounding set"), "{said}");
    assert!(said.contains("CapBnd: 0000000000000000, CapAmb: 0000000000000000, NoNewPrivs: 1, Seccomp: 2"), "{said}");
    assert!(said.contains("inject: error 1"), "{said}");
}

/// A program that could be executed, without seccomp, gains nothing of the bounding set, though its file has the capability.
#[test]
fn what_is_left_in_the_bounding_set_is_of_no_use() {
    if !root() {
        return;
    }
    let own = Own::new();
    let gaining = own.path("gaining");
    fs::copy(env!("CARGO_BIN_EXE_confined"), &gaining).unwrap();
    match Command::new("setcap").args(["cap_net_raw+ep", &gaining]).status() {
        Ok(status) if status.success() => {}
        outcome => return skipped(format_args!("no capability can be given to a file: {outcome:?}")),
    }
    let gained = "CapPrm: 0000000000002000, CapEff: 0000000000002000";
    let output =
        Command::new(&gaining).args(["unconfined", "--", "status"]).uid(USER_ID).gid(USER_ID).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    if !said.contains(gained) {
        return skipped("the file system of temporary files lets no file give a capability");
    }
    let spawn = format!("spawn {gaining} unconfined -- status");
    let said = run_with_capabilities("-all,+net_raw", &["landlock=off", "seccomp=off", "--", &spawn]);
    let nothing = "CapPrm: 0000000000000000, CapEff: 0000000000000000, CapBnd: 0000000000002000";
    assert!(said.contains(nothing) && !said.contains(gained), "{said}");
}

#[test]
fn probing_changes_nothing() {
    let before = run(&["unconfined"], &["status"]);
    let after = run(&["probe", "unconfined"], &["status"]);
    assert_eq!(before.of("status"), after.of("status"));
    for measure in ["no_new_privs", "core_files", "user", "capabilities", "capture", "landlock", "seccomp"] {
        assert!(!after.of(measure).starts_with("done"), "{}", after.said);
    }
}
