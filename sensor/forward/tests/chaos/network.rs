//! A network namespace for each receiver, with a link that can be cut and narrowed. Where none can be made, receivers are on the
//! loopback, and only killed and frozen.

use std::process::{Command, Stdio};

/// The narrow link: some ten times less than the events need at their usual rate.
const NARROW: &str = "rate 200kbit burst 16kb latency 400ms";

/// The way to one receiver.
pub struct Link {
    /// The receiver's address.
    pub address: String,
    namespace: Option<String>,
    device: String,
}

fn ip(line: &str) -> bool {
    let output = Command::new("ip").args(line.split_whitespace()).stderr(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

impl Link {
    /// The link of this number.
    pub fn new(number: usize) -> Self {
        let process = std::process::id() % 100_000;
        let (namespace, device) = (format!("vigie{process}-{number}"), format!("vg{process}-{number}"));
        let net = format!("10.203.{number}");
        let is_made = ip(&format!("netns add {namespace}"))
            && ip(&format!("link add {device} type veth peer name eth0 netns {namespace}"))
            && ip(&format!("addr add {net}.1/24 dev {device}"))
            && ip(&format!("link set {device} up"))
            && ip(&format!("-n {namespace} addr add {net}.2/24 dev eth0"))
            && ip(&format!("-n {namespace} link set eth0 up"))
            && ip(&format!("-n {namespace} link set lo up"));
        if is_made {
            return Self { address: format!("{net}.2"), namespace: Some(namespace), device };
        }
        ip(&format!("netns del {namespace}"));
        Self { address: "127.0.0.1".to_owned(), namespace: None, device }
    }

    /// Whether it can be cut.
    pub const fn is_real(&self) -> bool {
        self.namespace.is_some()
    }

    /// A command that runs at the other end.
    pub fn command(&self, program: &std::ffi::OsStr) -> Command {
        match &self.namespace {
            None => Command::new(program),
            // `ip` replaces itself with the program, which so has the id that is killed and frozen.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        }
    }

    pub fn cut(&self) {
        assert!(ip(&format!("link set {} down", self.device)));
    }

    pub fn join(&self) {
        assert!(ip(&format!("link set {} up", self.device)));
    }

    /// Lets little through. Whether the kernel can do that.
    pub fn narrow(&self) -> bool {
        let line = format!("qdisc add dev {} root tbf {NARROW}", self.device);
        let output = Command::new("tc").args(line.split_whitespace()).stderr(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    }

    pub fn widen(&self) {
        let line = format!("qdisc del dev {} root", self.device);
        let _ = Command::new("tc").args(line.split_whitespace()).stderr(Stdio::null()).status();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(namespace) = &self.namespace {
            ip(&format!("link del {}", self.device));
            ip(&format!("netns del {namespace}"));
        }
    }
}
