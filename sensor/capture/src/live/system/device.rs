//! Properties of a network device, by ioctl (netdevice(7), linux/ethtool.h, Documentation/networking/timestamping.rst).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{c_char, c_int};

use super::{ioctl, socket};

const GET_SETTINGS: u32 = 0x1;
const GET_DRIVER: u32 = 0x3;
const GET_TSO: u32 = 0x1e;
const GET_GSO: u32 = 0x23;
const GET_FLAGS: u32 = 0x25;
const GET_GRO: u32 = 0x2b;
const GET_CHANNELS: u32 = 0x3c;
const FLAG_RX_VLAN: u32 = 1 << 8;
const FLAG_LRO: u32 = 1 << 15;

/// Every received frame gets a timestamp (`HWTSTAMP_FILTER_ALL`).
const TIMESTAMP_ALL: c_int = 1;

/// A request about a device: its name, and a number or a pointer (`struct ifreq`).
#[repr(C)]
struct Request {
    name: [c_char; libc::IFNAMSIZ],
    data: *mut u8,
    rest: [u8; 16],
}

/// One number (`struct ethtool_value`).
#[repr(C)]
#[derive(Default)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_cmd`.
#[repr(C)]
#[derive(Default)]
struct Settings {
    command: u32,
    supported: u32,
    advertising: u32,
    speed: u16,
    other: [u8; 14],
    speed_high: u16,
    more: [u8; 14],
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct Driver {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ethtool_channels`: numbers of queues, at most and now.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    received: u32,
    sent: u32,
    other: u32,
    combined: u32,
}

/// `struct hwtstamp_config`.
#[repr(C)]
#[derive(Default)]
struct Timestamping {
    flags: c_int,
    send: c_int,
    receive: c_int,
}

/// A network device by its name.
#[derive(Debug)]
pub(in super::super) struct Device {
    socket: OwnedFd,
    name: [c_char; libc::IFNAMSIZ],
}

impl Device {
    /// A device by its name. A name that is too long is an error.
    pub(in super::super) fn new(name: &str) -> io::Result<Self> {
        let mut device = Self { socket: socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?, name: [0; libc::IFNAMSIZ] };
        if name.len() >= device.name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (place, byte) in device.name.iter_mut().zip(name.bytes()) {
            *place = byte as c_char;
        }
        Ok(device)
    }

    /// Whether generic receive offload merges received frames.
    pub(in super::super) fn gro(&self) -> Option<bool> {
        self.value(GET_GRO).map(|value| value != 0)
    }

    /// Whether large receive offload merges received segments.
    pub(in super::super) fn lro(&self) -> Option<bool> {
        self.value(GET_FLAGS).map(|flags| flags & FLAG_LRO != 0)
    }

    /// Whether the card takes VLAN tags out.
    pub(in super::super) fn rx_vlan(&self) -> Option<bool> {
        self.value(GET_FLAGS).map(|flags| flags & FLAG_RX_VLAN != 0)
    }

    /// Whether the system splits sent segments late.
    pub(in super::super) fn gso(&self) -> Option<bool> {
        self.value(GET_GSO).map(|value| value != 0)
    }

    /// Whether the card splits sent segments.
    pub(in super::super) fn tso(&self) -> Option<bool> {
        self.value(GET_TSO).map(|value| value != 0)
    }

    /// Speed in Mbit/s.
    pub(in super::super) fn speed_mbit(&self) -> Option<u32> {
        let mut settings = Settings { command: GET_SETTINGS, ..Settings::default() };
        // SAFETY: `Settings` is the structure that the command takes.
        unsafe { self.request(libc::SIOCETHTOOL as _, &mut settings) }.ok()?;
        let speed = u32::from(settings.speed) | u32::from(settings.speed_high) << 16;
        // All ones, in either half or both, mean that it is unknown.
        (speed != 0 && speed != u32::MAX && speed != 0xffff).then_some(speed)
    }

    /// How many queues frames are received in, if the driver tells it.
    pub(in super::super) fn receive_queues(&self) -> Option<u32> {
        let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
        // SAFETY: `Channels` is the structure that the command takes.
        unsafe { self.request(libc::SIOCETHTOOL as _, &mut channels) }.ok()?;
        Some(channels.received.saturating_add(channels.combined)).filter(|&queues| queues > 0)
    }

    /// The name of the driver.
    pub(in super::super) fn driver(&self) -> Option<String> {
        let mut driver = Driver { command: GET_DRIVER, driver: [0; 32], rest: [0; 160] };
        // SAFETY: `Driver` is the structure that the command takes.
        unsafe { self.request(libc::SIOCETHTOOL as _, &mut driver) }.ok()?;
        let name = driver.driver.split(|&byte| byte == 0).next()?;
        Some(String::from_utf8_lossy(name).into_owned()).filter(|name| !name.is_empty())
    }

    /// Makes the card give every received frame a timestamp. This needs CAP_NET_ADMIN unless the card does so already.
    pub(in super::super) fn timestamp_all(&self) -> io::Result<()> {
        let mut present = Timestamping::default();
        // SAFETY: `Timestamping` is the structure that the request takes.
        let read = unsafe { self.request(libc::SIOCGHWTSTAMP as _, &mut present) };
        if read.is_ok() && present.receive == TIMESTAMP_ALL {
            return Ok(());
        }
        // The setting for sent frames stays: others (PTP) may depend on it.
        let mut wanted = Timestamping { flags: 0, send: present.send, receive: TIMESTAMP_ALL };
        // SAFETY: as above.
        unsafe { self.request(libc::SIOCSHWTSTAMP as _, &mut wanted) }?;
        // The driver may have chosen a weaker setting.
        if wanted.receive == TIMESTAMP_ALL { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)) }
    }

    fn value(&self, command: u32) -> Option<u32> {
        let mut value = Value { command, data: 0 };
        // SAFETY: `Value` is the structure that all commands given to this function take.
        unsafe { self.request(libc::SIOCETHTOOL as _, &mut value) }.ok()?;
        Some(value.data)
    }

    /// Sends a request whose data is `data`.
    ///
    /// # Safety
    /// `T` is the structure that the request reads and writes; any bytes are a valid one.
    unsafe fn request<T>(&self, number: libc::c_ulong, data: &mut T) -> io::Result<()> {
        let mut request = Request { name: self.name, data: (&raw mut *data).cast(), rest: [0; 16] };
        // SAFETY: `Request` has the length and layout of `ifreq`, whose data pointer follows the name. The pointer is valid
        // for reads and writes of a `T` during the call, and by the caller's promise the kernel uses no more.
        unsafe { ioctl(self.socket.as_raw_fd(), number, &mut request) }
    }
}

const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>() && size_of::<Settings>() == 44);
const _: () = assert!(size_of::<Driver>() == 196 && size_of::<Channels>() == 36);
