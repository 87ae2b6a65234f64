//! A TCP connection whose packets are made one by one, in any order, as often as one likes.

use std::net::SocketAddr;

use crate::packets::{ACK, CLIENT, FIN, SERVER, SYN, tcp, tcp_acknowledging};

/// A connection. Offsets count bytes of a direction from its first.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Who opens it.
    pub client: SocketAddr,
    /// Who is contacted.
    pub server: SocketAddr,
    /// Initial sequence number of the client.
    pub client_isn: u32,
    /// Initial sequence number of the server.
    pub server_isn: u32,
}

impl Default for Connection {
    fn default() -> Self {
        Self::between(CLIENT, SERVER)
    }
}

impl Connection {
    /// A connection between these two.
    pub const fn between(client: SocketAddr, server: SocketAddr) -> Self {
        Self { client, server, client_isn: 1_000, server_isn: 77_000 }
    }

    /// The same from another client's port.
    pub fn port(mut self, port: u16) -> Self {
        self.client.set_port(port);
        self
    }

    /// The same to another server's port.
    pub fn to_port(mut self, port: u16) -> Self {
        self.server.set_port(port);
        self
    }

    /// The same with another initial sequence number of the client.
    pub const fn isn(mut self, isn: u32) -> Self {
        self.client_isn = isn;
        self
    }

    /// The client's SYN.
    pub fn syn(&self) -> Vec<u8> {
        self.syn_with(b"")
    }

    /// A SYN that carries data.
    pub fn syn_with(&self, payload: &[u8]) -> Vec<u8> {
        tcp(self.client, self.server, self.client_isn, SYN, payload)
    }

    /// The server's answer to the SYN.
    pub fn syn_ack(&self) -> Vec<u8> {
        tcp(self.server, self.client, self.server_isn, SYN | ACK, b"")
    }

    /// The three packets that open it.
    pub fn opening(&self) -> Vec<Vec<u8>> {
        vec![self.syn(), self.syn_ack(), self.from_client(0, b"")]
    }

    /// A segment of the client.
    pub fn from_client(&self, offset: usize, payload: &[u8]) -> Vec<u8> {
        self.from_client_with(offset, ACK, payload)
    }

    /// A segment of the client with these flags.
    pub fn from_client_with(&self, offset: usize, flags: u8, payload: &[u8]) -> Vec<u8> {
        tcp(self.client, self.server, sequence(self.client_isn, offset), flags, payload)
    }

    /// A segment of the server.
    pub fn from_server(&self, offset: usize, payload: &[u8]) -> Vec<u8> {
        tcp(self.server, self.client, sequence(self.server_isn, offset), ACK, payload)
    }

    /// A segment of the client that acknowledges so many bytes.
    pub fn from_client_acknowledging(&self, offset: usize, acknowledged: usize, payload: &[u8]) -> Vec<u8> {
        let numbers = (sequence(self.client_isn, offset), sequence(self.server_isn, acknowledged));
        tcp_acknowledging(self.client, self.server, numbers, ACK, payload)
    }

    /// A segment of the server that acknowledges so many bytes.
    pub fn from_server_acknowledging(&self, offset: usize, acknowledged: usize, payload: &[u8]) -> Vec<u8> {
        let numbers = (sequence(self.server_isn, offset), sequence(self.client_isn, acknowledged));
        tcp_acknowledging(self.server, self.client, numbers, ACK, payload)
    }

    /// The client's end after so many bytes.
    pub fn fin(&self, offset: usize) -> Vec<u8> {
        self.from_client_with(offset, FIN | ACK, b"")
    }

    /// All of `stream` in segments of `size` bytes, in order.
    pub fn segments(&self, stream: &[u8], size: usize) -> Vec<Vec<u8>> {
        stream.chunks(size).enumerate().map(|(place, piece)| self.from_client(place * size, piece)).collect()
    }

    /// The opening, and then all of `stream` in one segment.
    pub fn saying(&self, stream: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = self.opening();
        frames.push(self.from_client(0, stream));
        frames
    }
}

/// The SYN takes a number (RFC 9293 §3.4).
fn sequence(isn: u32, offset: usize) -> u32 {
    isn.wrapping_add(1).wrapping_add(u32::try_from(offset).unwrap())
}
