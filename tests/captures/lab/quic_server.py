#!/usr/bin/env python3
"""HTTP/3 for every host of the lab that offers it, each on its own addresses with its own certificate.

Port 443 answers at once, port 8443 asks for address validation first (Retry). A client that prefers QUIC v2 and
starts with v1 is moved to v2 in mid-handshake (RFC 9368 compatible version negotiation).
Prints one line a request: client address, port, server address, port, authority.

Usage: quic_server.py CERTIFICATES_DIR PAGES_DIR
"""

import asyncio
import sys
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated
from aioquic.quic.packet import QuicProtocolVersion

from hosts import read_hosts

V1, V2 = QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2


class PageProtocol(QuicConnectionProtocol):
    def __init__(self, *args, pages: Path, server: tuple[str, int], **kwargs):
        super().__init__(*args, **kwargs)
        self.pages = pages
        self.server = server
        self.http: H3Connection | None = None

    def quic_event_received(self, event) -> None:
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        if self.http is None:
            return
        for http_event in self.http.handle_event(event):
            if isinstance(http_event, HeadersReceived):
                self.answer(http_event)

    def answer(self, request: HeadersReceived) -> None:
        headers = dict(request.headers)
        authority = headers[b":authority"].decode()
        client = self._quic._network_paths[0].addr
        print(client[0], client[1], *self.server, authority, sep="\t", flush=True)
        page = self.pages / authority.split(":")[0] / headers[b":path"].decode().lstrip("/")
        page = page / "index.html" if page.is_dir() else page
        found = page.is_file()
        kind = b"text/javascript" if page.suffix == ".js" else b"text/html; charset=utf-8"
        reply = [(b":status", b"200" if found else b"404"), (b"content-type", kind)]
        self.http.send_headers(request.stream_id, reply)
        self.http.send_data(request.stream_id, page.read_bytes() if found else b"", end_stream=True)
        self.transmit()


class TicketStore:
    """Session tickets, so that a client can come back with 0-RTT."""

    def __init__(self) -> None:
        self.tickets = {}

    def add(self, ticket) -> None:
        self.tickets[ticket.ticket] = ticket

    def pop(self, label):
        return self.tickets.pop(label, None)


async def main(certificates: Path, pages: Path) -> None:
    store = TicketStore()
    for host in read_hosts():
        if "h3" not in host.alpn:
            continue
        for address in host.addresses:
            for port, retry in ((443, False), (8443, True)):
                configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN, supported_versions=[V1, V2])
                configuration.load_cert_chain(certificates / f"{host.name}.pem", certificates / "leaf.key")

                def protocol(*args, at=(address, port), **kwargs):
                    return PageProtocol(*args, pages=pages, server=at, **kwargs)

                await serve(
                    address,
                    port,
                    configuration=configuration,
                    create_protocol=protocol,
                    session_ticket_fetcher=store.pop,
                    session_ticket_handler=store.add,
                    retry=retry,
                )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
