//! The open connections, of which there are never more than a limit. When there is no room for another one, one that waits
//! for a request makes room: of the peer with the most connections, the one that has waited longest. So clients that open
//! connections and say nothing, or say it slowly, keep nobody else out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::monitored::locked;

/// The open connections.
#[derive(Debug)]
pub(super) struct Connections {
    connections_max: usize,
    open: Mutex<Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    peer: IpAddr,
    /// Since when it waits for a request; none while it answers one.
    waits_since: Option<Instant>,
    task: Option<AbortHandle>,
}

/// The place of a connection among the open ones; its end frees the place.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    peer: IpAddr,
    connections: Arc<Connections>,
}

/// What was done for another connection.
#[derive(Debug)]
pub(super) enum Room {
    /// There was room.
    Free(Place),
    /// A connection that waited was closed.
    Made(Place),
    /// All connections answer requests.
    None,
}

impl Connections {
    pub(super) fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self { connections_max: connections_max.max(1), open: Mutex::default() })
    }

    /// A place for another connection.
    pub(super) fn admit(self: &Arc<Self>, number: u64, peer: IpAddr) -> Room {
        let mut open = locked(&self.open);
        let is_full = open.len() >= self.connections_max;
        if is_full {
            let Some(slowest) = slowest(&open) else { return Room::None };
            if let Some(task) = open.swap_remove(slowest).task {
                task.abort();
            }
        }
        open.push(Open { number, peer, waits_since: Some(Instant::now()), task: None });
        let place = Place { number, peer, connections: Arc::clone(self) };
        if is_full { Room::Made(place) } else { Room::Free(place) }
    }

    /// Says which task serves the connection.
    pub(super) fn served_by(&self, number: u64, task: AbortHandle) {
        if let Some(open) = locked(&self.open).iter_mut().find(|open| open.number == number) {
            open.task = Some(task);
        }
    }
}

/// The connection that makes room.
fn slowest(open: &[Open]) -> Option<usize> {
    let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
    for connection in open {
        *of_peer.entry(connection.peer).or_default() += 1;
    }
    let waiting = open.iter().enumerate().filter_map(|(place, connection)| {
        let connections = of_peer.get(&connection.peer).copied().unwrap_or_default();
        Some((std::cmp::Reverse(connections), connection.waits_since?, place))
    });
    waiting.min().map(|(.., place)| place)
}

impl Place {
    pub(super) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The connection answers a request from now on, or waits for one.
    pub(super) fn answers(&self, answers: bool) {
        if let Some(open) = locked(&self.connections.open).iter_mut().find(|open| open.number == self.number) {
            open.waits_since = (!answers).then(Instant::now);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.connections.open).retain(|open| open.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_the_greediest_makes_room() {
        let connections = Connections::new(3);
        let peers = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let admit = |number, peer| match connections.admit(number, peer) {
            Room::Free(place) => (false, place),
            Room::Made(place) => (true, place),
            Room::None => panic!("no room for {number}"),
        };
        let places: Vec<_> =
            [peers[1], peers[0], peers[0]].into_iter().zip(0..).map(|(peer, number)| admit(number, peer)).collect();
        assert!(places.iter().all(|(made, _)| !made));
        places[1].1.answers(true);
        let fourth = admit(3, peers[1]);
        assert!(fourth.0);
        let numbers =
            || locked(&connections.open).iter().map(|open| open.number).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(numbers(), [0, 1, 3].into(), "the second of the first peer waited, its first answers");
        drop(fourth);
        assert_eq!(numbers(), [0, 1].into());
        places[0].1.answers(true);
        let last = admit(4, peers[0]).1;
        last.answers(true);
        assert!(matches!(connections.admit(5, peers[1]), Room::None));
    }
}
