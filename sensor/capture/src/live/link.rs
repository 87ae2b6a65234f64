//! The system's links: a link's number, state and counts by its name, and notice of changes. They come by route netlink
//! (RFC 3549, rtnetlink(7)) over sockets that are opened once, so that no file and no privilege is needed later.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::system::Netlink;
use vigie_wire::LinkType;

/// How often the kernel is asked for its counts.
pub(super) const CHECK_EVERY: Duration = Duration::from_millis(250);
/// How often the states of interfaces are asked for although no change was announced.
pub(super) const STATE_EVERY: Duration = Duration::from_secs(1);
/// Room for an answer. One about a link takes some 2 kB.
const MESSAGE_BYTES_MAX: usize = 32_768;

/// `struct nlmsghdr` and `struct ifinfomsg`.
const HEADER_BYTES: usize = 16;
const LINK_BYTES: usize = 16;

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Its number. A link of the same name that is created later has another.
    pub(super) index: u32,
    /// Its hardware type (`ARPHRD_…`).
    pub(super) hardware: u16,
    /// Its flags (`IFF_…`).
    pub(super) flags: u32,
    /// Bytes of a packet at most.
    pub(super) mtu: u32,
    /// Frames that the system dropped before any socket saw them, since the link was created.
    pub(super) dropped: u64,
    /// Frames that the card dropped because the system fetched them too late.
    pub(super) missed: u64,
}

impl Link {
    /// Whether it is set up.
    pub(super) const fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// Whether it has a carrier.
    pub(super) const fn has_carrier(&self) -> bool {
        self.flags & libc::IFF_RUNNING as u32 != 0
    }

    /// Whether it is the loopback, where sent frames come back.
    pub(super) const fn is_loopback(&self) -> bool {
        self.hardware == libc::ARPHRD_LOOPBACK
    }

    /// The link type of its frames, if it is supported.
    pub(super) const fn link_type(&self) -> Option<LinkType> {
        match self.hardware {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType::ETHERNET),
            // The kernel hands packets of PPP and of tunnels out without link header, or with the outer IP header in its place.
            libc::ARPHRD_NONE
            | ARPHRD_RAWIP
            | libc::ARPHRD_PPP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_IPGRE
            | ARPHRD_IP6GRE => Some(LinkType::RAW),
            libc::ARPHRD_IEEE80211 => Some(LinkType::IEEE802_11),
            libc::ARPHRD_IEEE80211_RADIOTAP => Some(LinkType::IEEE802_11_RADIOTAP),
            _ => None,
        }
    }

    /// Its kind in words.
    pub(super) fn kind(&self) -> String {
        match (self.hardware, self.link_type()) {
            (libc::ARPHRD_LOOPBACK, _) => "loopback".to_owned(),
            (_, Some(LinkType::ETHERNET)) => "Ethernet".to_owned(),
            (libc::ARPHRD_PPP, _) => "PPP".to_owned(),
            (libc::ARPHRD_TUNNEL | libc::ARPHRD_TUNNEL6 | libc::ARPHRD_SIT | libc::ARPHRD_IPGRE | ARPHRD_IP6GRE, _) => {
                "IP tunnel".to_owned()
            }
            (_, Some(LinkType::RAW)) => "raw IP".to_owned(),
            (_, Some(other)) => other.name().to_owned(),
            (libc::ARPHRD_INFINIBAND, None) => "InfiniBand".to_owned(),
            (number, None) => format!("hardware type {number}"),
        }
    }
}

/// Links of mobile modems, without a link header. `libc` has no name for them.
const ARPHRD_RAWIP: u16 = 519;
/// GRE over IPv6, likewise.
const ARPHRD_IP6GRE: u16 = 823;

/// The netlink sockets for requests and for changes.
#[derive(Debug)]
pub(super) struct Links {
    requests: Netlink,
    changes: Netlink,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Links {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            requests: Netlink::open(0)?,
            changes: Netlink::open(libc::RTMGRP_LINK as u32)?,
            buffer: vec![0; MESSAGE_BYTES_MAX],
            sequence: 0,
        })
    }

    /// Becomes readable when a link changes.
    pub(super) fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// Whether any link changed since the last call. The messages themselves are dropped: callers ask for the link's present
    /// state.
    pub(super) fn changed(&mut self) -> bool {
        let mut changed = false;
        loop {
            match self.changes.receive(&mut self.buffer) {
                Ok(_) => changed = true,
                // The kernel's queue was full and messages were lost (netlink(7)).
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(_) => return changed,
            }
        }
    }

    /// The link of that name.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub(super) fn find(&mut self, name: &str) -> io::Result<Option<Link>> {
        self.sequence = self.sequence.wrapping_add(1);
        self.requests.send(&link_request(name, self.sequence))?;
        loop {
            let answer = self.requests.receive(&mut self.buffer)?;
            // An answer to an earlier request is skipped.
            if u32_at(answer, 8) == Some(self.sequence) {
                return parse(answer);
            }
        }
    }
}

/// The request for the link of a name.
fn link_request(name: &str, sequence: u32) -> Vec<u8> {
    let attribute_bytes = 4 + name.len() + 1;
    let length = HEADER_BYTES + LINK_BYTES + attribute_bytes.next_multiple_of(4);
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(libc::RTM_GETLINK.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.resize(HEADER_BYTES + LINK_BYTES, 0);
    message.extend((attribute_bytes as u16).to_ne_bytes());
    message.extend(libc::IFLA_IFNAME.to_ne_bytes());
    message.extend(name.as_bytes());
    message.resize(length, 0);
    message
}

/// The link or error in an answer.
fn parse(answer: &[u8]) -> io::Result<Option<Link>> {
    let kind = u16_at(answer, 4).unwrap_or_default();
    if kind == libc::NLMSG_ERROR as u16 {
        let code = u32_at(answer, HEADER_BYTES).unwrap_or_default().cast_signed();
        return match -code {
            libc::ENODEV => Ok(None),
            code => Err(io::Error::from_raw_os_error(code)),
        };
    }
    let cut = || io::Error::from(io::ErrorKind::InvalidData);
    let mut link = Link {
        hardware: u16_at(answer, HEADER_BYTES + 2).ok_or_else(cut)?,
        index: u32_at(answer, HEADER_BYTES + 4).ok_or_else(cut)?,
        flags: u32_at(answer, HEADER_BYTES + 8).ok_or_else(cut)?,
        ..Link::default()
    };
    let mut rest = answer.get(HEADER_BYTES + LINK_BYTES..).unwrap_or_default();
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..length) else { break };
        match kind {
            libc::IFLA_MTU => link.mtu = u32_at(value, 0).unwrap_or_default(),
            // `struct rtnl_link_stats64`: numbers of 64 bits; the 7th counts dropped frames, the 16th missed ones.
            libc::IFLA_STATS64 => {
                link.dropped = u64_at(value, 6 * 8).unwrap_or_default();
                link.missed = u64_at(value, 15 * 8).unwrap_or_default();
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Some(link))
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_found_and_nothing_else() {
        let mut links = Links::open().unwrap();
        let loopback = links.find("lo").unwrap().unwrap();
        assert!(loopback.is_loopback() && loopback.index > 0 && loopback.mtu >= 576, "{loopback:?}");
        assert_eq!(loopback.link_type(), Some(LinkType::ETHERNET));
        assert_eq!(links.find("no-such-link").unwrap(), None);
        assert_eq!(links.find("lo").unwrap().map(|link| link.index), Some(loopback.index));
        assert!(!links.changed());
    }

    #[test]
    fn an_answer_cut_anywhere_does_no_harm() {
        let mut answer = link_request("lo", 7);
        answer[4] = libc::RTM_NEWLINK as u8;
        answer.extend([8, 0, libc::IFLA_MTU as u8, 0, 0xdc, 5, 0, 0]);
        for length in 0..answer.len() {
            let link = parse(&answer[..length]);
            assert_eq!(link.is_err(), length < HEADER_BYTES + 12, "{length}");
        }
        assert_eq!(parse(&answer).unwrap().unwrap().mtu, 1500);
    }

    #[test]
    fn kinds_of_links() {
        let kind = |hardware| Link { hardware, ..Link::default() }.kind();
        assert_eq!(kind(libc::ARPHRD_ETHER), "Ethernet");
        assert_eq!(kind(libc::ARPHRD_NONE), "raw IP");
        assert_eq!(kind(libc::ARPHRD_PPP), "PPP");
        for tunnel in [libc::ARPHRD_TUNNEL, libc::ARPHRD_TUNNEL6, libc::ARPHRD_SIT, libc::ARPHRD_IPGRE, ARPHRD_IP6GRE] {
            assert_eq!(kind(tunnel), "IP tunnel");
        }
        for raw in [libc::ARPHRD_PPP, libc::ARPHRD_SIT, libc::ARPHRD_IPGRE, libc::ARPHRD_NONE] {
            assert_eq!(Link { hardware: raw, ..Link::default() }.link_type(), Some(LinkType::RAW));
        }
        assert_eq!(kind(12_345), "hardware type 12345");
    }
}
