//! The places for connections. Who holds one without asking for anything makes room for the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

#[derive(Default)]
struct Connection {
    task: Option<AbortHandle>,
    answers: bool,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// By number, so the first one is the oldest.
    open: BTreeMap<u64, Connection>,
}

/// All connections.
#[derive(Clone)]
pub struct Connections {
    connections_max: usize,
    table: Arc<Mutex<Table>>,
}

/// The place of a connection, until it is dropped.
pub struct Place {
    number: u64,
    table: Arc<Mutex<Table>>,
}

fn locked(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connections {
    pub fn new(connections_max: usize) -> Self {
        Self { connections_max, table: Arc::default() }
    }

    /// A place; if all are taken, that of the oldest connection that waits for a request. None if all are being answered.
    pub fn admit(&self) -> Option<Place> {
        let mut table = locked(&self.table);
        if table.open.len() >= self.connections_max {
            let waiting = table.open.iter().find(|(_, connection)| !connection.answers).map(|(number, _)| *number)?;
            if let Some(task) = table.open.remove(&waiting).and_then(|connection| connection.task) {
                task.abort();
            }
        }
        let number = table.next;
        table.next += 1;
        table.open.insert(number, Connection::default());
        Some(Place { number, table: Arc::clone(&self.table) })
    }

    /// Says which task serves a connection.
    pub fn served_by(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = locked(&self.table).open.get_mut(&number) {
            connection.task = Some(task);
        }
    }
}

impl Place {
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether a request is being answered.
    pub fn answers(&self, answers: bool) {
        if let Some(connection) = locked(&self.table).open.get_mut(&self.number) {
            connection.answers = answers;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.table).open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_makes_room_and_who_is_answered_stays() {
        let connections = Connections::new(2);
        let first = connections.admit().unwrap();
        let second = connections.admit().unwrap();
        first.answers(true);
        let third = connections.admit().unwrap();
        assert_eq!((second.number(), third.number()), (1, 2));
        third.answers(true);
        assert!(connections.admit().is_none());
        drop(second);
        assert!(connections.admit().is_none(), "its place had gone");
        drop(first);
        assert!(connections.admit().is_some());
    }
}
