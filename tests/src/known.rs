//! Connections with numbers, so that it is known which of them were alerted of: each number has a client's end of its own,
//! in a range that nobody else uses (RFC 6598).

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use crate::hello::Hello;
use crate::packets::SERVER;
use crate::tcp::Connection;

/// A client's end: its address and port.
pub type Ends = (String, u16);

/// The first of the clients.
const FIRST: u32 = u32::from_be_bytes([100, 64, 0, 1]);
/// Connections of one client.
pub const PORTS: usize = 20_000;

/// The client's end of the connection of that number.
pub fn client(number: usize) -> SocketAddr {
    let address = Ipv4Addr::from(FIRST + u32::try_from(number / PORTS).unwrap());
    SocketAddr::new(address.into(), 20_000 + u16::try_from(number % PORTS).unwrap())
}

/// The same as events tell it.
pub fn ends(number: usize) -> Ends {
    let client = client(number);
    (client.ip().to_string(), client.port())
}

/// The client's end in an event.
///
/// # Panics
/// There is none.
pub fn ends_of(event: &Value) -> Ends {
    let port = event["src_port"].as_u64().and_then(|port| u16::try_from(port).ok());
    (event["src_ip"].as_str().expect("an address").to_owned(), port.expect("a port"))
}

/// The connection of that number.
pub fn connection(number: usize) -> Connection {
    Connection::between(client(number), SERVER)
}

/// Its packets when it opens and says hello to `name`: four.
pub fn says(number: usize, name: &str) -> Vec<Vec<u8>> {
    connection(number).saying(&Hello::to(name).record())
}
