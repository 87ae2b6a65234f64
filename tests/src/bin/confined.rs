//! A process that confines itself as it is told and then tries things: the other half of `tests/privilege.rs`.
//!
//! `confined [SETTING=VALUE]… -- [STEP]…`; for each step a line says `STEP: ok`, `STEP: ok what`, or `STEP: error N`
//! with the system's error number. What goes wrong before the steps is told as `refused: why`, with exit code 78.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

use vigie_privilege::{Confinement, Demand, Profile, confine, probe};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let mut plan = Plan::default();
    for word in words.by_ref().take_while(|word| word != "--") {
        plan.set(&word);
    }
    if plan.probe {
        print!("{}", probe(&Profile::SENSOR));
    }
    if plan.confine {
        match confine(&plan.confinement) {
            Ok(report) => print!("{report}"),
            Err(error) => {
                println!("refused: {error}");
                return ExitCode::from(78);
            }
        }
    }
    for step in words {
        tell(&step, plan.step(&step));
    }
    ExitCode::SUCCESS
}

fn tell(step: &str, result: io::Result<String>) {
    match result {
        Ok(what) if what.is_empty() => println!("{step}: ok"),
        Ok(what) => println!("{step}: ok {what}"),
        Err(error) => println!("{step}: error {}", error.raw_os_error().unwrap_or(-1)),
    }
}

/// What is done before the confinement, and what was opened then.
struct Plan {
    confinement: Confinement,
    confine: bool,
    probe: bool,
    capture: Option<OwnedFd>,
    spare: Option<OwnedFd>,
    talk: Option<(UdpSocket, UdpSocket)>,
}

impl Default for Plan {
    fn default() -> Self {
        let confinement = Confinement::default();
        Self { confinement, confine: true, probe: false, capture: None, spare: None, talk: None }
    }
}

impl Plan {
    fn set(&mut self, word: &str) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let confinement = &mut self.confinement;
        let demand = match value {
            "preferred" => Demand::Preferred,
            "off" => Demand::Off,
            _ => Demand::Required,
        };
        match name {
            "user" => confinement.user = Some(value.to_owned()),
            "group" => confinement.group = Some(value.to_owned()),
            "landlock" => confinement.landlock = demand,
            "seccomp" => confinement.seccomp = demand,
            "readable" => confinement.readable.push(value.into()),
            "writable" => confinement.writable.push(value.into()),
            "tcp-bind" => confinement.tcp_bind.push(value.parse().unwrap()),
            "tcp-connect" => confinement.tcp_connect.push(value.parse().unwrap()),
            "without" => refuse(match value {
                "landlock" => libc::SYS_landlock_create_ruleset,
                "seccomp" => libc::SYS_seccomp,
                _ => panic!("{value}"),
            }),
            "unconfined" => self.confine = false,
            "probe" => self.probe = true,
            "packet" => self.open_packet(),
            "capture" => self.open_capture(),
            "pcap" => self.open_pcap(),
            _ => panic!("no setting {name}"),
        }
    }

    /// A capture socket, and no more.
    fn open_packet(&mut self) {
        let capture = packet_socket().unwrap();
        bind_to_loopback(capture.as_raw_fd()).unwrap();
        self.confinement.receive_only = vec![capture.as_raw_fd()];
        self.capture = Some(capture);
    }

    /// In a network namespace of our own: a capture socket bound to its loopback, a spare one, and a pair that talks there.
    fn open_capture(&mut self) {
        checked(unsafe { libc::unshare(libc::CLONE_NEWNET) }).unwrap();
        let any = UdpSocket::bind("0.0.0.0:0").unwrap();
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        checked(unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS, &request) }).unwrap();
        let capture = packet_socket().unwrap();
        bind_to_loopback(capture.as_raw_fd()).unwrap();
        let spare = packet_socket().unwrap();
        self.confinement.receive_only = vec![capture.as_raw_fd(), spare.as_raw_fd()];
        (self.capture, self.spare) = (Some(capture), Some(spare));
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let speaker = UdpSocket::bind("127.0.0.1:0").unwrap();
        speaker.connect(listener.local_addr().unwrap()).unwrap();
        self.talk = Some((speaker, listener));
    }

    /// In a network namespace of our own: its loopback, captured as the sensor does with libpcap.
    fn open_pcap(&mut self) {
        self.open_capture();
        let backend = vigie_capture::live::Backend::Pcap;
        let interfaces = vec!["lo".to_owned()];
        let options = vigie_capture::live::LiveOptions { interfaces, backend, ..Default::default() };
        let live = vigie_capture::live::open(&options, 1).unwrap().pop().unwrap();
        self.confinement.receive_only = live.descriptors();
        let [socket] = self.confinement.receive_only[..] else { panic!("one interface has one socket") };
        // The socket stays open to the end of the process.
        std::mem::forget(live);
        self.capture = Some(unsafe { OwnedFd::from_raw_fd(socket) });
    }

    fn capture(&self) -> RawFd {
        self.capture.as_ref().unwrap().as_raw_fd()
    }

    fn step(&self, step: &str) -> io::Result<String> {
        let words: Vec<&str> = step.split(' ').collect();
        let none = Ok(String::new());
        match words.as_slice() {
            ["status"] => status(),
            ["wait"] => {
                println!("waiting");
                io::stdin().read_line(&mut String::new()).and(none)
            }
            ["thread", rest @ ..] => {
                let rest = rest.join(" ");
                std::thread::scope(|scope| scope.spawn(|| self.step(&rest)).join().unwrap())
            }
            ["read", path] => File::open(path)?.read_to_end(&mut Vec::new()).and(none),
            ["list", path] => Ok(fs::read_dir(path)?.count().to_string()),
            ["append", path] => OpenOptions::new().append(true).open(path)?.write_all(b"line\n").and(none),
            ["create", path] => File::create_new(path)?.write_all(b"line\n").and(none),
            ["truncate", path] => OpenOptions::new().write(true).truncate(true).open(path).map(|_| String::new()),
            ["rename", from, to] => fs::rename(from, to).and(none),
            ["remove", path] => fs::remove_file(path).and(none),
            ["folder", path] => fs::create_dir(path).and(none),
            ["execute", path] => execute(path),
            ["spawn", path, arguments @ ..] => {
                std::process::Command::new(path).args(arguments).status().map(|_| String::new())
            }
            ["socket", family, kind, protocol] => {
                let number = |text: &str| text.parse::<libc::c_int>().unwrap();
                let socket =
                    unsafe { libc::socket(number(family), number(kind) | libc::SOCK_CLOEXEC, number(protocol)) };
                checked(socket).map(|socket| drop(unsafe { OwnedFd::from_raw_fd(socket) })).and(none)
            }
            ["connect", address] => TcpStream::connect(address.parse::<SocketAddr>().unwrap()).and(none),
            ["listen", address] => TcpListener::bind(address.parse::<SocketAddr>().unwrap()).and(none),
            ["notify", path] => UnixDatagram::unbound()?.send_to(b"READY=1", path).and(none),
            ["interface", name] => {
                let name = CString::new(*name).unwrap();
                checked(unsafe { libc::if_nametoindex(name.as_ptr()) } as libc::c_int - 1).and(none)
            }
            ["signal", process] => checked(unsafe { libc::kill(process.parse().unwrap(), 0) }).and(none),
            ["call", number] => call(number.parse().unwrap()).and(none),
            ["code"] => code().and(none),
            ["panic"] => {
                let result = std::thread::spawn(|| panic!("on purpose")).join();
                Ok(if result.is_err() { "caught" } else { "not" }.to_owned())
            }
            ["abort"] => std::process::abort(),
            ["limit"] => limit().and(none),
            ["inject"] => send(self.capture()).and(none),
            ["write"] => File::from(borrow(self.capture())).write_all(&[0; 64]).and(none),
            ["duplicate"] => {
                let result = checked(unsafe { libc::dup(self.capture()) });
                result.or_else(|_| checked(unsafe { libc::fcntl(self.capture(), libc::F_DUPFD_CLOEXEC, 0) })).and(none)
            }
            ["close"] => checked(unsafe { libc::close(self.capture()) }).and(none),
            ["count", datagrams] => self.count(datagrams.parse().unwrap()),
            ["ring", datagrams] => self.ring(datagrams.parse().unwrap()),
            _ => panic!("no step {step}"),
        }
    }

    /// Sends datagrams over the loopback and counts the frames on the capture socket: those that left and those that came.
    fn count(&self, datagrams: u32) -> io::Result<String> {
        let (speaker, listener) = self.talk.as_ref().unwrap();
        let (mut frames, mut bytes) = (0_u32, [0; 256]);
        for number in 0..datagrams {
            speaker.send(&number.to_be_bytes())?;
            listener.recv(&mut bytes)?;
            for _ in 0..2 {
                let pointer = bytes.as_mut_ptr().cast();
                let length =
                    checked(unsafe { libc::recv(self.capture(), pointer, bytes.len(), libc::MSG_DONTWAIT) } as i32)?;
                // Ethernet 14, IPv4 20, UDP 8, and the number.
                assert_eq!((length, &bytes[42..46]), (46, &number.to_be_bytes()[..]));
                frames += 1;
            }
        }
        let (seen, dropped) = statistics::<2>(self.capture())?.into();
        Ok(format!("received {frames} kernel {seen} dropped {dropped}"))
    }

    /// Makes of the spare socket, which was opened and nothing more, a ring in a fanout group on the loopback.
    fn ring(&self, datagrams: u32) -> io::Result<String> {
        let spare = self.spare.as_ref().unwrap().as_raw_fd();
        set(spare, libc::PACKET_VERSION, &2_i32)?; // TPACKET_V3
        let (block, blocks) = (1 << 20, 4);
        let request = libc::tpacket_req3 {
            tp_block_size: block,
            tp_block_nr: blocks,
            tp_frame_size: 2048,
            tp_frame_nr: block / 2048 * blocks,
            tp_retire_blk_tov: 10,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(spare, libc::PACKET_RX_RING, &request)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let length = (block * blocks) as usize;
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, spare, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        bind_to_loopback(spare)?;
        set(spare, libc::PACKET_FANOUT, &7_i32)?;
        let (speaker, listener) = self.talk.as_ref().unwrap();
        for number in 0..datagrams {
            speaker.send(&number.to_be_bytes())?;
            listener.recv(&mut [0; 64])?;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        // Each block's head says how many frames are in it: version, offset, status, count (packet_mmap(7)).
        let in_block =
            |index: u32| unsafe { memory.cast::<u32>().add((index * block / 4) as usize + 3).read_volatile() };
        let frames: u32 = (0..blocks).map(in_block).sum();
        let [seen, dropped, _] = statistics::<3>(spare)?;
        Ok(format!("received {frames} kernel {seen} dropped {dropped}"))
    }
}

/// Sets a limit, by a pointer whose lower half is zero.
fn limit() -> io::Result<()> {
    let address = (1_usize << 32) as *mut libc::c_void;
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let place = unsafe { libc::mmap(address, 4096, access, kind | libc::MAP_FIXED_NOREPLACE, -1, 0) };
    assert_eq!(place, address, "{}", io::Error::last_os_error());
    let limits = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    unsafe { place.cast::<libc::rlimit>().write(limits) };
    let none = std::ptr::null_mut::<libc::rlimit>();
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, place, none) };
    checked(result as libc::c_int).map(drop)
}

/// The lines of our status that tell of privileges.
fn status() -> io::Result<String> {
    let wanted = ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp:"];
    let text = fs::read_to_string("/proc/thread-self/status")?;
    let lines = text.lines().filter(|line| wanted.iter().any(|wanted| line.starts_with(wanted)));
    Ok(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", "))
}

fn execute(path: &str) -> io::Result<String> {
    let path = CString::new(path).unwrap();
    let arguments = [path.as_ptr(), std::ptr::null()];
    io::stdout().flush()?;
    checked(unsafe { libc::execv(path.as_ptr(), arguments.as_ptr()) }).map(|_| String::new())
}

/// A system call with no arguments worth the name.
fn call(number: libc::c_long) -> io::Result<libc::c_int> {
    io::stdout().flush()?;
    checked(unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) } as libc::c_int)
}

/// Memory that can be executed.
fn code() -> io::Result<libc::c_int> {
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(0) }
}

fn packet_socket() -> io::Result<OwnedFd> {
    let socket = checked(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

fn bind_to_loopback(socket: RawFd) -> io::Result<()> {
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = 1;
    let length = size_of_val(&address) as libc::socklen_t;
    checked(unsafe { libc::bind(socket, (&raw const address).cast(), length) }).map(drop)
}

fn send(socket: RawFd) -> io::Result<libc::c_int> {
    checked(unsafe { libc::send(socket, [0_u8; 64].as_ptr().cast(), 64, 0) } as libc::c_int)
}

/// The same descriptor, which stays open.
fn borrow(socket: RawFd) -> OwnedFd {
    // Closing it is refused under confinement, which is the only place where this is called.
    unsafe { OwnedFd::from_raw_fd(socket) }
}

fn set<T>(socket: RawFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    checked(unsafe { libc::setsockopt(socket, libc::SOL_PACKET, option, std::ptr::from_ref(value).cast(), length) })
        .map(drop)
}

/// Packets and drops since the last question.
fn statistics<const N: usize>(socket: RawFd) -> io::Result<[u32; N]> {
    let mut counts = [0_u32; N];
    let mut length = size_of_val(&counts) as libc::socklen_t;
    let pointer = counts.as_mut_ptr().cast();
    let option = libc::PACKET_STATISTICS;
    checked(unsafe { libc::getsockopt(socket, libc::SOL_PACKET, option, pointer, &raw mut length) })?;
    Ok(counts)
}

/// As on a kernel that does not have this call.
fn refuse(call: libc::c_long) {
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        statement(0x20, 0, 0, 0), // load the call's number
        statement(0x15, 0, 1, call as u32),
        statement(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        statement(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).unwrap();
    checked(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) }).unwrap();
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
