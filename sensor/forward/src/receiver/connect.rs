//! Connections over TCP: names, addresses, time-outs.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::error::{ErrorKind, SendError, plain};

/// The addresses of `host:port`.
///
/// # Errors
/// The name is unknown, or cannot be asked about.
pub fn resolve(server: &str) -> Result<Vec<SocketAddr>, SendError> {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let unknown = |why: &str| {
        let message = format!("the host {host} is unknown{why}; check the name, and the name servers of this machine");
        SendError::new(ErrorKind::UnknownHost, message)
    };
    let found = server.to_socket_addrs().map_err(|error| {
        let text = plain(&error);
        let why = text.rsplit(": ").next().unwrap_or(&text);
        unknown(&format!(" ({why})"))
    })?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() { Err(unknown("")) } else { Ok(addresses) }
}

/// Connects to the first address that answers.
///
/// # Errors
/// None does.
pub fn connect(server: &str, timeout: Duration) -> Result<TcpStream, SendError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(server)? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                prepare(&stream, timeout).map_err(|error| SendError::connection(server, &error))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(SendError::connection(server, &last))
}

/// A dead server is noticed: by the kernel when it acknowledges nothing (RFC 5482), by keep-alives when nothing is sent.
fn prepare(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &milliseconds)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &60)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &20)?;
    setsockopt(stream, sockopt::TcpKeepCount, &3)?;
    Ok(())
}
