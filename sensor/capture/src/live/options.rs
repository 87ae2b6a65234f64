//! Options of live capture.

use std::fmt;
use std::str::FromStr;

use super::shunt::INTERFACES_MAX;
use super::system::RingLayout;
use crate::{CaptureError, FRAME_BYTES_MAX};

/// Bytes of a block at least: a page.
pub const BLOCK_BYTES_MIN: usize = 4096;
/// Bytes of a block at most.
pub const BLOCK_BYTES_MAX: usize = 1 << 28;
/// Bytes of a ring at most: the kernel and libpcap count them in 32 bits with sign.
pub const RING_BYTES_MAX: usize = (1 << 31) - 1;
/// The longest time-out of a block, in milliseconds.
pub const BLOCK_TIMEOUT_MS_MAX: u32 = 1000;
/// The smallest snapshot length.
pub const SNAP_BYTES_MIN: u32 = 64;
/// The snapshot length that captures all of any frame.
pub const SNAP_BYTES_MAX: u32 = FRAME_BYTES_MAX as u32;

/// Defines an enumeration of a setting's values, with their words in the configuration.
macro_rules! setting_words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[$variant_attribute:meta])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_attribute])+ $variant),+ }

        impl $name {
            /// The words of all values.
            pub const WORDS: &[&str] = &[$($word),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("\"{word}\" is none of {}", Self::WORDS.join(", "))),
                }
            }
        }
    };
}

setting_words! {
    /// The way frames are captured.
    Backend {
        /// Rings of packet sockets: any number of workers.
        #[default]
        Ring = "ring",
        /// AF_XDP sockets: any number of workers, each with some of the interfaces' queues.
        Xdp = "xdp",
        /// libpcap: one worker.
        Pcap = "pcap",
        /// AF_XDP sockets where [nothing stands against them](super::xdp::obstacle), else rings.
        Auto = "auto",
    }
}

impl Backend {
    /// Whether rings may be what it comes to.
    pub const fn may_be_ring(self) -> bool {
        matches!(self, Self::Ring | Self::Auto)
    }
}

setting_words! {
    /// How the kernel chooses the worker for a frame. Round robin and random are not offered: they would spread the packets of
    /// a flow over several workers.
    Fanout {
        /// By IP addresses: both directions of a flow, and all fragments of its packets, come to the same worker, and so do all
        /// flows of one tunnel.
        #[default]
        Addresses = "addresses",
        /// By addresses and ports: both directions of a flow come to the same worker, but fragments of its packets may come to
        /// another one.
        Hash = "hash",
        /// By the processor that received the frame: for cards that distribute flows symmetrically themselves.
        Cpu = "cpu",
        /// By the card's queue, likewise.
        Qm = "qm",
    }
}

impl Fanout {
    pub(super) const fn mode(self) -> u32 {
        match self {
            Self::Addresses => libc::PACKET_FANOUT_CBPF,
            Self::Hash => libc::PACKET_FANOUT_HASH,
            Self::Cpu => libc::PACKET_FANOUT_CPU,
            Self::Qm => libc::PACKET_FANOUT_QM,
        }
    }
}

setting_words! {
    /// What becomes of packets of settled flows.
    ShuntMode {
        /// They go to the workers, as all packets.
        #[default]
        Off = "off",
        /// The driver counts and drops them.
        Drop = "drop",
        /// They are counted, and go to everybody but the workers.
        Pass = "pass",
    }
}

setting_words! {
    /// The clock that timestamps come from.
    Timestamps {
        /// The system's.
        #[default]
        Kernel = "kernel",
        /// The network card's, which should follow the system's (`phc2sys`).
        Hardware = "hardware",
    }
}

/// Options of live capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveOptions {
    /// The names of the interfaces. Frames of several are merged by time, as the two directions of one tap.
    pub interfaces: Vec<String>,
    /// The way frames are captured.
    pub backend: Backend,
    /// How the kernel chooses the worker for a frame.
    pub fanout: Fanout,
    /// Bytes of the ring of each worker on each interface; rounded down to whole blocks.
    pub ring_bytes_per_worker: usize,
    /// Bytes of a ring's block, a power of two and whole pages. The kernel hands frames over in blocks. A frame that is longer
    /// than a block is cut.
    pub block_bytes: usize,
    /// After how many milliseconds a block is handed over although it is not full. A frame may be seen that late, and with
    /// several interfaces each frame waits that long for older ones.
    pub block_timeout_ms: u32,
    /// The snapshot length: bytes of a frame that are captured. The default captures all of any frame.
    pub snap_bytes: u32,
    /// Promiscuous mode: see frames that are not addressed to the interface.
    pub promiscuous: bool,
    /// A filter expression (pcap-filter(7)); frames that it rejects are not captured.
    pub bpf: Option<String>,
    /// The clock that timestamps come from.
    pub timestamps: Timestamps,
    /// How many milliseconds a source waits for frames at most.
    pub wait_ms: u32,
    /// Whether to wait for an interface that is missing or down at the start; if not, that is an error.
    pub wait_for_interfaces: bool,
    /// How often an interface that is deleted and created anew can be opened again after privileges were given up. This many
    /// spare sockets are kept for each worker and interface.
    pub spare_sockets: usize,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            backend: Backend::default(),
            fanout: Fanout::default(),
            ring_bytes_per_worker: 64 << 20,
            block_bytes: 1 << 20,
            block_timeout_ms: 20,
            snap_bytes: SNAP_BYTES_MAX,
            promiscuous: true,
            bpf: None,
            timestamps: Timestamps::default(),
            wait_ms: 100,
            wait_for_interfaces: true,
            spare_sockets: 8,
        }
    }
}

impl LiveOptions {
    /// Whether the options are possible. No interface is looked at.
    ///
    /// # Errors
    /// The first impossible option, and what is possible.
    pub fn check(&self, workers: usize) -> Result<(), CaptureError> {
        let wrong = |option: &str, reason: String| Err(CaptureError::Option { option: option.to_owned(), reason });
        if self.interfaces.is_empty() {
            return wrong("interfaces", "none is given; 'vigie interfaces' lists them".to_owned());
        }
        for (place, name) in self.interfaces.iter().enumerate() {
            if name == "any" {
                return wrong("interfaces", "\"any\" cannot be captured; name the interfaces".to_owned());
            }
            if !is_interface_name(name) {
                return wrong("interfaces", format!("{name:?} cannot be the name of an interface"));
            }
            if self.interfaces.iter().take(place).any(|other| other == name) {
                return wrong("interfaces", format!("{name} is given twice"));
            }
        }
        if workers == 0 || workers > 1024 {
            return wrong("workers", format!("{workers} is not between 1 and 1024"));
        }
        if self.backend == Backend::Pcap && workers > 1 {
            return wrong("workers", "the backend \"pcap\" has one worker; use \"ring\" for several".to_owned());
        }
        if self.backend == Backend::Xdp {
            if self.bpf.is_some() {
                return wrong("bpf", "AF_XDP has no filters; use the backend \"ring\"".to_owned());
            }
            if self.timestamps == Timestamps::Hardware {
                return wrong("timestamps", "the backend \"xdp\" has only those of the kernel".to_owned());
            }
            if self.interfaces.len() > INTERFACES_MAX {
                return wrong("interfaces", format!("the backend \"xdp\" takes {INTERFACES_MAX} at most"));
            }
        }
        if self.backend.may_be_ring() {
            if !self.block_bytes.is_power_of_two() || !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&self.block_bytes) {
                let (given, least, most) = (self.block_bytes, BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
                return wrong("block_bytes", format!("{given} is not a power of two between {least} and {most}"));
            }
            if self.ring_bytes_per_worker / self.block_bytes < 2 {
                let reason = format!("{} bytes do not hold two blocks", self.ring_bytes_per_worker);
                return wrong("ring_bytes_per_worker", reason);
            }
        }
        if self.ring_bytes_per_worker > RING_BYTES_MAX {
            let reason = format!("give at most {RING_BYTES_MAX} bytes, and more workers");
            return wrong("ring_bytes_per_worker", reason);
        }
        if !(1..=BLOCK_TIMEOUT_MS_MAX).contains(&self.block_timeout_ms) {
            let reason = format!("{} is not between 1 and {BLOCK_TIMEOUT_MS_MAX}", self.block_timeout_ms);
            return wrong("block_timeout_ms", reason);
        }
        if !(SNAP_BYTES_MIN..=SNAP_BYTES_MAX).contains(&self.snap_bytes) {
            let reason = format!("{} is not between {SNAP_BYTES_MIN} and {SNAP_BYTES_MAX}", self.snap_bytes);
            return wrong("snap_bytes", reason);
        }
        if !(1..=60_000).contains(&self.wait_ms) {
            return wrong("wait_ms", format!("{} is not between 1 and 60000", self.wait_ms));
        }
        Ok(())
    }

    pub(super) fn layout(&self) -> RingLayout {
        RingLayout {
            block_bytes: self.block_bytes as u32,
            blocks: (self.ring_bytes_per_worker / self.block_bytes) as u32,
            block_timeout_ms: self.block_timeout_ms,
        }
    }
}

/// Whether the kernel accepts the name for an interface (`dev_valid_name`).
fn is_interface_name(name: &str) -> bool {
    let is_wrong = |character: char| character == '/' || character == ':' || character.is_whitespace();
    !name.is_empty()
        && name.len() < libc::IFNAMSIZ
        && name != "."
        && name != ".."
        && !name.contains(is_wrong)
        && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in Fanout::WORDS {
            assert_eq!(word.parse::<Fanout>().unwrap().to_string(), *word);
        }
        assert_eq!("pcap".parse(), Ok(Backend::Pcap));
        assert_eq!("hardware".parse(), Ok(Timestamps::Hardware));
        assert_eq!("rind".parse::<Backend>(), Err("\"rind\" is none of ring, xdp, pcap, auto".to_owned()));
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let good = || LiveOptions { interfaces: vec!["eth0".to_owned(), "eth1".to_owned()], ..LiveOptions::default() };
        good().check(1).unwrap();
        good().check(1024).unwrap();
        let wrong = |change: &dyn Fn(&mut LiveOptions), workers: usize| {
            let mut options = good();
            change(&mut options);
            options.check(workers).unwrap_err().to_string()
        };
        assert_eq!(wrong(&|_| {}, 0), "workers: 0 is not between 1 and 1024");
        assert!(wrong(&|options| options.backend = Backend::Pcap, 2).contains("one worker"));
        assert!(wrong(&|options| options.interfaces.clear(), 1).contains("vigie interfaces"));
        for name in ["", "any", "a b", "a/b", "..", "sixteen_letters_", "eth1"] {
            wrong(&|options| options.interfaces[0] = name.to_owned(), 1);
        }
        let xdp = |change: &dyn Fn(&mut LiveOptions)| {
            wrong(
                &|options| {
                    options.backend = Backend::Xdp;
                    change(options);
                },
                1,
            )
        };
        assert!(xdp(&|options| options.bpf = Some("tcp".to_owned())).contains("no filters"));
        assert!(xdp(&|options| options.timestamps = Timestamps::Hardware).starts_with("timestamps: "));
        xdp(&|options| options.interfaces = (0..=INTERFACES_MAX).map(|number| format!("tap{number}")).collect());
        wrong(&|options| options.block_bytes = 5000, 1);
        wrong(&|options| options.block_bytes = 1024, 1);
        wrong(&|options| options.ring_bytes_per_worker = options.block_bytes, 1);
        wrong(&|options| options.ring_bytes_per_worker = 1 << 31, 1);
        wrong(&|options| options.block_timeout_ms = 0, 1);
        wrong(&|options| options.snap_bytes = 10, 1);
        wrong(&|options| options.wait_ms = 0, 1);
    }
}
