#!/usr/bin/env python3
"""The lab's middlemen: an HTTP proxy (CONNECT and absolute URIs), a SOCKS 4a/5 proxy, and a mail server that knows only
STARTTLS. Just enough of each protocol for the clients of the lab; each connection is served once and closed.

Usage: proxies.py PROXY_ADDRESS MAIL_ADDRESS CERTIFICATE KEY
"""

import asyncio
import socket
import ssl
import struct
import sys
from urllib.parse import urlsplit


async def pump(reader, writer) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass


async def relay(client_reader, client_writer, server_reader, server_writer) -> None:
    await asyncio.gather(pump(client_reader, server_writer), pump(server_reader, client_writer))
    server_writer.close()
    client_writer.close()


async def http_proxy(reader, writer) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    request, rest = head.split(b"\r\n", 1)
    method, target, version = request.decode().split(" ")
    if method == "CONNECT":
        host, port = target.rsplit(":", 1)
        server = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        url = urlsplit(target)
        server = await asyncio.open_connection(url.hostname, url.port or 80)
        server[1].write(f"{method} {url.path or '/'} {version}\r\n".encode() + rest)
    await relay(reader, writer, *server)


async def socks_proxy(reader, writer) -> None:
    version = (await reader.readexactly(1))[0]
    if version == 5:
        host, port = await socks5_request(reader, writer)
        granted = b"\x05\x00\x00\x01" + bytes(6)
    else:
        host, port = await socks4_request(reader)
        granted = b"\x00\x5a" + bytes(6)
    server = await asyncio.open_connection(host, port)
    writer.write(granted)
    await relay(reader, writer, *server)


async def socks5_request(reader, writer) -> tuple[str, int]:
    methods = (await reader.readexactly(1))[0]
    await reader.readexactly(methods)
    writer.write(b"\x05\x00")
    _version, _command, _reserved, kind = await reader.readexactly(4)
    if kind == 3:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    else:
        family, length = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        host = socket.inet_ntop(family, await reader.readexactly(length))
    return host, struct.unpack("!H", await reader.readexactly(2))[0]


async def socks4_request(reader) -> tuple[str, int]:
    _command, port = struct.unpack("!BH", await reader.readexactly(3))
    address = await reader.readexactly(4)
    await reader.readuntil(b"\0")  # the user's name
    # 0.0.0.x says that the name follows (SOCKS 4a).
    if address[:3] == bytes(3):
        return (await reader.readuntil(b"\0"))[:-1].decode(), port
    return socket.inet_ntoa(address), port


def mail_server(context: ssl.SSLContext):
    async def serve(reader, writer) -> None:
        writer.write(b"220 mail ESMTP\r\n")
        while line := await reader.readline():
            verb = line.strip().upper()[:8].split(b" ")[0]
            if verb == b"EHLO":
                writer.write(b"250-mail\r\n250 STARTTLS\r\n")
            elif verb == b"STARTTLS":
                writer.write(b"220 go ahead\r\n")
                await writer.start_tls(context)
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
        writer.close()

    return serve


async def main(proxy: str, mail: str, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    await asyncio.start_server(http_proxy, proxy, 3128)
    await asyncio.start_server(socks_proxy, proxy, 1080)
    await asyncio.start_server(mail_server(context), mail, 587)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
