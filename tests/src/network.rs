//! Networks for tests: namespaces with pairs of joined interfaces, frames sent into them, and threads without
//! privileges. Where namespaces are not permitted, a test is told so and skips.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;
use vigie_skip::skipped;

/// A network namespace of its own, gone when dropped. It has no IPv6, so that nothing is sent but what the test sends.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one. `None`, and a line that says why, where that is not permitted.
    pub fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("vigie-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        match made {
            Ok(output) if output.status.success() => {
                let namespace = Self { name };
                namespace.run("for which in all default; do echo 1 >/proc/sys/net/ipv6/conf/$which/disable_ipv6; done");
                Some(namespace)
            }
            Ok(output) => {
                let error = String::from_utf8_lossy(&output.stderr);
                skipped(format_args!("no network namespace can be made; run the tests as root: {}", error.trim()));
                None
            }
            Err(error) => {
                skipped(format_args!("'ip' cannot be run; install iproute2: {error}"));
                None
            }
        }
    }

    /// Its name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a shell line in it, and gives what it printed.
    ///
    /// # Panics
    /// It failed.
    pub fn run(&self, line: &str) -> String {
        let output = self.command("sh").args(["-c", line]).output().expect("ip runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Whether a shell line can be run in it: for what not every kernel has.
    pub fn can_run(&self, line: &str) -> bool {
        self.command("sh").args(["-c", line]).output().is_ok_and(|output| output.status.success())
    }

    /// A command to be run in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Joins two new interfaces and sets them up: what one sends, the other receives.
    pub fn pair(&self, one: &str, other: &str) {
        self.run(&format!("ip link add {one} type veth peer name {other}"));
        self.run(&format!("ip link set {one} up; ip link set {other} up"));
    }

    /// Joins a new interface here to a new one in another namespace and sets them up.
    pub fn cable(&self, here: &str, other: &Self, there: &str) {
        self.run(&format!("ip link add {here} type veth peer name {there} netns {}", other.name));
        self.run(&format!("ip link set {here} up"));
        other.run(&format!("ip link set {there} up"));
    }

    /// Whatever comes in or goes out at `interface` is sent through `to` as well: a mirror port. Whether this kernel can
    /// comes back.
    pub fn mirror(&self, interface: &str, to: &str) -> bool {
        if !self.can_run(&format!("tc qdisc add dev {interface} clsact")) {
            return false;
        }
        ["ingress", "egress"].into_iter().all(|side| {
            // Not every kernel has the classifier that is made for that.
            self.can_run(&format!("tc filter add dev {interface} {side} protocol all u32 match u32 0 0 action mirred egress mirror dev {to}"))
        })
    }

    /// Does `work` in it, in a thread of its own.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Takes the calling thread into it, for good. Sockets opened from then on are in it.
    pub fn enter(&self) {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace has a name");
        // SAFETY: `setns` takes a descriptor, which is open, and no pointers.
        let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(result, 0, "setns: {}", io::Error::last_os_error());
    }

    /// A number that the kernel keeps of an interface, such as `tx_dropped`.
    pub fn count(&self, interface: &str, name: &str) -> u64 {
        let text = self.run(&format!("cat /sys/class/net/{interface}/statistics/{name}"));
        text.trim().parse().expect("a number")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Sends frames through an interface as they are.
#[derive(Debug)]
pub struct Sender(OwnedFd);

impl Sender {
    /// A sender in the calling thread's namespace.
    pub fn new(interface: &str) -> Self {
        // SAFETY: `socket` takes no pointers.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(socket >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the descriptor is open and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let name = std::ffi::CString::new(interface).unwrap();
        // SAFETY: zeros are a valid `sockaddr_ll`; `name` is a string that ends with a zero.
        let (mut address, index) = unsafe { (mem::zeroed::<libc::sockaddr_ll>(), libc::if_nametoindex(name.as_ptr())) };
        assert_ne!(index, 0, "no interface {interface}");
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        let length = mem::size_of_val(&address) as u32;
        // SAFETY: pointer and length describe `address`.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        assert_eq!(result, 0, "bind: {}", io::Error::last_os_error());
        Self(socket)
    }

    /// Sends all of them, in order, no faster than the receiving end of a pair can take them.
    ///
    /// # Panics
    /// One cannot be sent.
    pub fn send_in_bursts(&self, frames: &[Vec<u8>]) {
        /// Frames that the receiving end has room for; more at once are lost on the way.
        const BURST_FRAMES: usize = 64;
        for some in frames.chunks(BURST_FRAMES) {
            self.send(some.iter().map(Vec::as_slice));
            thread::sleep(Duration::from_micros(500));
        }
    }

    /// Sends all of them, in order, as fast as it goes.
    ///
    /// # Panics
    /// One cannot be sent.
    pub fn send<'f>(&self, frames: impl IntoIterator<Item = &'f [u8]>) {
        let frames: Vec<&[u8]> = frames.into_iter().collect();
        for some in frames.chunks(64) {
            let mut parts: Vec<libc::iovec> = some
                .iter()
                .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
                .collect();
            let mut messages: Vec<libc::mmsghdr> = parts
                .iter_mut()
                .map(|part| {
                    // SAFETY: zeros are a valid `mmsghdr`: no address, no data, no flags.
                    let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
                    message.msg_hdr.msg_iov = part;
                    message.msg_hdr.msg_iovlen = 1;
                    message
                })
                .collect();
            let mut done = 0;
            while done < messages.len() {
                let rest = &mut messages[done..];
                // SAFETY: each message points to one part, and each part to a frame, all alive here.
                let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
                match usize::try_from(sent) {
                    Ok(sent) => done += sent,
                    Err(_) => match io::Error::last_os_error() {
                        error if error.raw_os_error() == Some(libc::ENOBUFS) => thread::sleep(Duration::from_millis(1)),
                        error => panic!("cannot send: {error}"),
                    },
                }
            }
        }
    }
}

/// Makes an interface without a link header in the calling thread's namespace: an IP packet written to the file is received
/// by it. It goes when the file is closed. The caller sets it up.
pub fn tunnel(name: &str) -> File {
    let file = File::options().read(true).write(true).open("/dev/net/tun").expect("/dev/net/tun");
    let mut request = [0_u8; mem::size_of::<libc::ifreq>()];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
    request[libc::IFNAMSIZ..libc::IFNAMSIZ + 2].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the request is an `ifreq`: a name that ends with a zero, and flags.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, request.as_mut_ptr()) };
    assert_eq!(result, 0, "TUNSETIFF: {}", io::Error::last_os_error());
    file
}

/// Takes all capabilities from the calling thread, for good; other threads keep theirs.
pub fn give_up_privileges() {
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION, 0];
    let none = [0_u32; 6];
    // SAFETY: the call reads a header of two words and, in this version, six words of sets.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "capset: {}", io::Error::last_os_error());
}

/// Has the calling thread run on that processor only.
///
/// # Panics
/// There is no such processor.
pub fn pin_thread(cpu: usize) {
    // SAFETY: zeros are a valid set of processors, `CPU_SET` checks where it writes, and pointer and length describe it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, mem::size_of_val(&set), &raw const set)
    };
    assert_eq!(result, 0, "processor {cpu}: {}", io::Error::last_os_error());
}

/// For how long the calling thread has run its own code, and for how long the kernel's.
pub fn thread_times() -> (Duration, Duration) {
    // SAFETY: zeros are a valid `rusage`, to which the call writes.
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    (time(usage.ru_utime), time(usage.ru_stime))
}
