#!/usr/bin/env python3
"""Sends the hellos of TikTok's app for Android: no such app speaks in the lab, and no library here builds them.

The app's network stack is a fork of Chromium 107: fixed order of extensions, application settings under their old number,
padding, no post-quantum share. JA4: t13d1516h2_8daaf6152771_e5627efa2ab1. The server answers; the client reads the answer
and closes, since it cannot go on without a TLS stack of its own.

Usage: app_client.py NAME…
"""

import secrets
import socket
import struct
import sys
import time

PADDED_BYTES = 512
GREASE = 0x4A4A
CIPHER_SUITES = [GREASE, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014]
CIPHER_SUITES += [0x009C, 0x009D, 0x002F, 0x0035]
SIGNATURE_ALGORITHMS = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]


def vector(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def numbers(*values: int) -> bytes:
    return struct.pack(f"!{len(values)}H", *values)


def extensions(name: str) -> list[tuple[int, bytes]]:
    protocols = b"".join(bytes([len(word)]) + word for word in (b"h2", b"http/1.1"))
    # Any 32 bytes are a share of X25519 (RFC 7748, section 5).
    shares = numbers(GREASE, 1) + b"\0" + numbers(0x1D) + vector(secrets.token_bytes(32))
    return [
        (GREASE, b""),
        (0, vector(b"\0" + vector(name.encode()))),
        (23, b""),
        (0xFF01, b"\0"),
        (10, vector(numbers(GREASE, 0x1D, 0x17, 0x18))),
        (11, b"\1\0"),
        (35, b""),
        (16, vector(protocols)),
        (5, b"\1\0\0\0\0"),
        (13, vector(numbers(*SIGNATURE_ALGORITHMS))),
        (18, b""),
        (51, vector(shares)),
        (45, b"\1\1"),
        (43, b"\6" + numbers(GREASE, 0x0304, 0x0303)),
        (27, b"\2\0\2"),
        (0x4469, vector(b"\2h2")),
        (GREASE ^ 0x1010, b"\0"),
    ]


def hello(name: str) -> bytes:
    start = b"\3\3" + secrets.token_bytes(32) + b"\x20" + secrets.token_bytes(32)
    start += vector(numbers(*CIPHER_SUITES)) + b"\1\0"
    body = b"".join(numbers(kind) + vector(data) for kind, data in extensions(name))
    padding = PADDED_BYTES - (4 + len(start) + 2 + len(body) + 4)
    if padding >= 0:
        body += numbers(21) + vector(bytes(padding))
    message = start + vector(body)
    message = b"\1" + struct.pack("!I", len(message))[1:] + message
    return b"\x16\3\1" + vector(message)


def main() -> None:
    for name in sys.argv[1:]:
        with socket.create_connection((name, 443), timeout=5) as connection:
            connection.sendall(hello(name))
            answer = connection.recv(65536)
            if not answer.startswith(b"\x16\3\3"):
                sys.exit(f"{name} did not answer with a hello: {answer[:7].hex()}")
            time.sleep(0.2)


if __name__ == "__main__":
    main()
