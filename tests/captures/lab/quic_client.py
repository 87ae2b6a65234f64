#!/usr/bin/env python3
"""Fetches one page over HTTP/3 with aioquic, in a chosen QUIC version.

With --again it comes back with the session ticket of the first visit and asks in 0-RTT.
"""

import argparse
import asyncio
from urllib.parse import urlsplit

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion

V1, V2 = QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2
# What the client says first, and what it would accept in the end. 0x1a2a3a4a is reserved to provoke version
# negotiation (RFC 9000 section 15).
VERSIONS = {"v1": (V1, [V1]), "v2": (V2, [V2]), "v1-to-v2": (V1, [V2, V1]), "greased": (0x1A2A3A4A, [0x1A2A3A4A, V1])}


class FetchProtocol(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.done = asyncio.get_running_loop().create_future()

    async def fetch(self, authority: str, path: str) -> None:
        stream = self._quic.get_next_available_stream_id()
        request = {":method": "GET", ":scheme": "https", ":authority": authority, ":path": path or "/"}
        headers = [(key.encode(), value.encode()) for key, value in request.items()]
        self.http.send_headers(stream, headers, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self.done, 10)

    def quic_event_received(self, event) -> None:
        for http_event in self.http.handle_event(event):
            if isinstance(http_event, DataReceived) and http_event.stream_ended and not self.done.done():
                self.done.set_result(None)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--version", choices=VERSIONS, default="v1")
    parser.add_argument("--again", action="store_true", help="visit a second time, in 0-RTT")
    arguments = parser.parse_args()
    url = urlsplit(arguments.url)
    first, accepted = VERSIONS[arguments.version]
    tickets = []
    for visit in range(2 if arguments.again else 1):
        configuration = QuicConfiguration(
            alpn_protocols=H3_ALPN,
            original_version=first,
            supported_versions=accepted,
            session_ticket=tickets[-1] if visit else None,
        )
        configuration.load_verify_locations(arguments.ca)
        async with connect(
            url.hostname,
            url.port or 443,
            configuration=configuration,
            create_protocol=FetchProtocol,
            session_ticket_handler=tickets.append,
            wait_connected=not visit,
        ) as client:
            await client.fetch(url.netloc, url.path)


if __name__ == "__main__":
    asyncio.run(main())
