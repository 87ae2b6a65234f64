//! What systemd does for a sensor that runs as a service: a BPF file system that is root's, in which the XDP program is loaded
//! for the sensor; and the sensor as an unprivileged user, which may open capture sockets and lock memory.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use crate::daemon::{Running, USER_ID, binary, has};
use crate::network::Namespace;
use vigie_skip::skipped;

/// Makes the file system and the folder where the service shows what is in it, and stays.
const MOUNTS: &str = "mount -t tmpfs -o mode=0755 tmpfs /run && mkdir /run/vigie-xdp && \
                      mount -t bpf -o mode=0700 bpf /sys/fs/bpf && ip link set lo up && echo ready && exec sleep infinity";

/// A mount namespace of its own in a network namespace. It ends when dropped.
#[derive(Debug)]
pub struct Service(Running);

impl Service {
    /// Makes one. None, with the reason said, without the rights or programs for it.
    ///
    /// # Panics
    /// Its programs do not run.
    pub fn new(namespace: &Namespace) -> Option<Self> {
        if !["unshare", "nsenter", "setpriv"].into_iter().all(has) {
            return None;
        }
        let mut command = namespace.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", MOUNTS]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = Running(command.spawn().expect("ip runs"));
        let mut said = [0; 6];
        let stream = holder.0.stdout.as_mut().expect("it is a pipe");
        if stream.read_exact(&mut said).is_err() {
            skipped("no BPF file system can be mounted");
            return None;
        }
        Some(Self(holder))
    }

    /// A command of root's in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.0.0.id().to_string(), "--mount", "--net", "--", program]);
        command
    }

    /// A command with the rights that the service has. CAP_IPC_LOCK stands for its `LimitMEMLOCK=infinity`, which root may not
    /// set everywhere.
    pub fn unprivileged(&self, program: &str) -> Command {
        let mut command = self.command("setpriv");
        let user = USER_ID.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        let sets = ["bounding-set", "inh-caps", "ambient-caps"].map(|set| format!("--{set}=-all,+net_raw,+ipc_lock"));
        command.arg("--no-new-privs").args(sets).arg(program);
        command
    }

    /// Runs a shell line as root in it, and gives what it printed.
    ///
    /// # Panics
    /// It failed.
    pub fn run(&self, line: &str) -> String {
        told(&self.command("sh").args(["-c", line]).output().expect("nsenter runs"))
    }

    /// Loads the XDP program that a sensor with these arguments needs, if it needs one, as `vigie-xdp.service` does, and shows it to
    /// the sensor. Gives what was said.
    ///
    /// # Panics
    /// It cannot be loaded.
    pub fn load(&self, arguments: &[&str]) -> String {
        let user = format!("privilege.user={}", crate::daemon::USER);
        let mut command = self.command(&binary().to_string_lossy());
        command.args(["xdp", "load", "--config", "/dev/null", "--set", &user]).args(arguments);
        let said = told(&command.output().expect("nsenter runs"));
        self.run("! mountpoint --quiet /run/vigie-xdp || umount /run/vigie-xdp");
        if said.contains(" is loaded, in /sys/fs/bpf/vigie") {
            self.run("mount --bind /sys/fs/bpf/vigie /run/vigie-xdp && mount -o remount,bind,ro /run/vigie-xdp");
        }
        said
    }
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
