//! TLS of the listener on loopback. Whose certificate an authority signed is known by its names.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use vigie_metrics::server::live_config::TlsServer;

use super::visit::Peer;
use crate::access::names_of_certificate;

/// A connection after its handshake; none if there was none in time.
pub async fn accept(stream: TcpStream, tls: TlsServer, within: Duration) -> Option<(TlsStream<TcpStream>, Peer)> {
    let stream = timeout(within, TlsAcceptor::from(tls).accept(stream)).await.ok()?.ok()?;
    let (_, session) = stream.get_ref();
    // The first is the client's own (RFC 8446 §4.4.2).
    let own = session.peer_certificates().and_then(|certificates| certificates.first());
    let certificate_names = own.map(|der| names_of_certificate(der)).unwrap_or_default();
    let peer = Peer { certificate_names, ..Peer::default() };
    Some((stream, peer))
}
