#!/usr/bin/env python3
"""Answers for the lab's hosts over UDP and TCP: A, AAAA, CNAME chains and HTTPS records. Every other name does not exist.

Usage: dns_server.py ADDRESS…
"""

import asyncio
import ipaddress
import struct
import sys

from dnslib import AAAA, CNAME, HTTPS, QTYPE, RCODE, RR, TXT, A, DNSRecord

from hosts import Host, read_hosts

TTL_S = 300
# Too long for a datagram: the client gets a truncated answer and asks again over TCP.
LONG_TEXT = [f"vigie-lab-{part}-" + "x" * 180 for part in range(8)]
HOSTS = {host.name: host for host in read_hosts()}


def answer(request: DNSRecord) -> DNSRecord:
    reply = request.reply()
    question = request.q
    # Clients may write a name in any mixture of cases; the answer repeats theirs.
    host = HOSTS.get(str(question.qname).rstrip(".").lower())
    if host is None:
        reply.header.rcode = RCODE.NXDOMAIN
        return reply
    owner = question.qname
    for alias in host.aliases:
        reply.add_answer(RR(owner, QTYPE.CNAME, ttl=TTL_S, rdata=CNAME(alias)))
        owner = alias
    for rdata in records(host, QTYPE[question.qtype]):
        reply.add_answer(RR(owner, question.qtype, ttl=TTL_S, rdata=rdata))
    return reply


def records(host: Host, kind: str) -> list:
    if kind == "A":
        return [A(a) for a in host.addresses if ipaddress.ip_address(a).version == 4]
    if kind == "AAAA":
        return [AAAA(a) for a in host.addresses if ipaddress.ip_address(a).version == 6]
    if kind == "HTTPS" and host.alpn:
        hint = next(a for a in host.addresses if ipaddress.ip_address(a).version == 4)
        return [HTTPS.fromZone(["1", ".", f"alpn={','.join(host.alpn)}", f"ipv4hint={hint}"])]
    if kind == "TXT" and host.name == "tiktok.com":
        return [TXT(LONG_TEXT)]
    return []


class DatagramServer(asyncio.DatagramProtocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, client) -> None:
        request = DNSRecord.parse(data)
        reply = answer(request)
        # What the client can take, as it says in its OPT record (RFC 6891 section 6.2.3).
        room = next((record.edns_len for record in request.ar if record.rtype == QTYPE.OPT), 512)
        if len(reply.pack()) > room:
            reply = request.reply()
            reply.header.tc = 1
        self.transport.sendto(reply.pack(), client)


async def serve_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            reply = answer(DNSRecord.parse(await reader.readexactly(length))).pack()
            # The length in a segment of its own, as some servers do.
            writer.write(struct.pack("!H", len(reply)))
            await writer.drain()
            writer.write(reply)
    except asyncio.IncompleteReadError:
        writer.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    for address in sys.argv[1:]:
        await loop.create_datagram_endpoint(DatagramServer, local_addr=(address, 53))
        await asyncio.start_server(serve_stream, address, 53)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
