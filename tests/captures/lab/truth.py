#!/usr/bin/env python3
"""What is in the captures, as an independent decoder (tshark) tells it.

Writes truth.tsv (every TLS, QUIC and DTLS hello), truth-clear.tsv (names in clear text: HTTP, CONNECT, SOCKS),
truth-dns.tsv (questions and answers) and the tables of README.md. Given the servers' logs, it also checks that whatever
a server was asked stands in the truth with the same name. Every name must also belong to the address that it was said to.

Usage: truth.py DIRECTORY [--recorded CAPTURE… --nginx LOG --quic LOG] [--versions FILE]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from hosts import read_hosts

# TLS and DTLS stand on ports where tshark does not look for them by itself.
DECODE_AS = ["-d", "tcp.port==8443,tls", "-d", "tcp.port==8444,tls", "-d", "udp.port==4433-4434,dtls"]
CAPTURES = ["browsing.pcapng", "curl.pcap", "openssl.pcap", "quic.pcap", "proxies.pcap", "dns.pcap", "nosni.pcap"]
TUPLE = ["ip.src", "ipv6.src", "tcp.srcport", "udp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport", "udp.dstport"]

# A hello without a name: what else there is to know, by capture and server.
NAMELESS = {
    ("openssl.pcap", "203.0.113.21"): ("no", "no name, and no DNS answer before it: nothing tells"),
    ("openssl.pcap", "192.0.2.12"): ("no", "no name, and no DNS answer before it: nothing tells"),
    ("nosni.pcap", "71.18.4.10"): (
        "yes",
        "dns: the client just asked api16-normal-no1a.tiktokv.eu; and TikTok's own network",
    ),
    ("nosni.pcap", "203.0.113.21"): ("yes", "dns: the client just asked www.tiktok.com"),
    ("nosni.pcap", "192.0.2.12"): ("no", "dns: the client just asked www.example.org"),
    ("nosni.pcap", "71.18.248.20"): (
        "yes",
        "prefix: TikTok's own network (AS138699), and no name: the weakest evidence; a policy may want more",
    ),
    ("nosni.pcap", "14.103.0.20"): ("no", "prefix of a public cloud (AS137718): its customers are many"),
    ("nosni.pcap", "203.0.113.31"): ("yes", "tls-cert: the TLS 1.2 certificate names editor-api-sg.capcutapi.com"),
    ("nosni.pcap", "192.0.2.13"): ("no", "tls-cert: the TLS 1.2 certificate names intranet.example.gouv.fr"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--recorded", nargs="*", default=[])
    parser.add_argument("--nginx", type=Path)
    parser.add_argument("--quic", type=Path)
    parser.add_argument("--versions", type=Path)
    arguments = parser.parse_args()
    here = arguments.directory

    present = [name for name in CAPTURES if (here / name).is_file()]
    hellos = [row for name in present for row in read_hellos(here, name)]
    clear = [row for name in present for row in read_clear(here, name)]
    dns = [row for name in present for row in read_dns(here, name)]
    write_tsv(here / "truth.tsv", "capture proto src sport dst dport sni", hellos)
    write_tsv(here / "truth-clear.tsv", "capture proto src sport dst dport name", clear)
    write_tsv(here / "truth-dns.tsv", "capture proto client server question type rcode answers", dns)
    describe(here / "README.md", arguments.versions, present, hellos, clear)
    check_owners(hellos)
    if arguments.nginx and arguments.quic:
        compare_with_servers(arguments.recorded, hellos, clear, arguments.nginx, arguments.quic)


def tshark(capture: Path, filter_: str, fields: list[str]) -> list[list[str]]:
    command = ["tshark", "-n", "-r", str(capture), *DECODE_AS, "-Y", filter_, "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # A field that is absent is empty; a line may end in several of them.
    return [line.split("\t") for line in output.split("\n") if line.strip()]


def without_strange_versions(capture: Path, scratch: Path) -> Path:
    """A first packet in a reserved QUIC version hides the rest of its connection from tshark: it is taken out before."""
    command = ["tshark", "-n", "-r", str(capture), "-Y", "!(quic.version == 0x1a2a3a4a || quic.version == 0)"]
    subprocess.run([*command, "-w", str(scratch)], check=True, capture_output=True)
    return scratch


def ends(cells: list[str]) -> tuple[str, str, str, str]:
    ip, ip6, tcp, udp, to_ip, to_ip6, to_tcp, to_udp = cells
    return ip or ip6, tcp or udp, to_ip or to_ip6, to_tcp or to_udp


def read_hellos(here: Path, name: str) -> list[tuple]:
    """One row for each flow and name; a flow whose hellos carry none has one row with "-"."""
    fields = [
        *TUPLE,
        "tls.handshake.extensions_server_name",
        "dtls.handshake.extensions_server_name",
        "frame.protocols",
    ]
    flows: dict[tuple, list[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        capture = without_strange_versions(here / name, Path(scratch) / name)
        hellos = tshark(capture, "tls.handshake.type == 1 || dtls.handshake.type == 1", fields)
    for *cells, tls_name, dtls_name, protocols in hellos:
        layers = protocols.split(":")
        proto = next((layer for layer in ("quic", "dtls") if layer in layers), "tls")
        names = flows.setdefault((name, proto, *ends(cells)), [])
        for sni in (tls_name or dtls_name).split(","):
            if sni and sni not in names:
                names.append(sni)
    return [(*flow, sni) for flow, names in flows.items() for sni in names or ["-"]]


def read_clear(here: Path, name: str) -> list[tuple]:
    fields = [*TUPLE, "http.request.method", "http.request.uri", "http.host", "socks.remote_name", "socks.v4a_dns_name"]
    filter_ = "http.request || (socks && tcp.dstport == 1080 && (socks.remote_name || socks.v4a_dns_name))"
    rows = []
    for *cells, method, uri, host, socks5, socks4a in tshark(here / name, filter_, fields):
        if method == "CONNECT":
            found = [("http-connect", uri.rsplit(":", 1)[0])]
        elif method:
            found = [("http-host", host)]
        else:
            found = []
        # tshark repeats what the tunnel was opened with on each packet inside it.
        found += [("socks5", n) for n in socks5.split(",")[:1] if n] + [
            ("socks4a", n) for n in socks4a.split(",")[:1] if n
        ]
        for proto, clear_name in found:
            row = (name, proto, *ends(cells), clear_name)
            if row not in rows:
                rows.append(row)
    return rows


def read_dns(here: Path, name: str) -> list[tuple]:
    fields = [*TUPLE, "dns.qry.name", "dns.qry.type", "dns.flags.rcode", "dns.flags.truncated"]
    fields += ["dns.cname", "dns.a", "dns.aaaa", "dns.svcb.svcparam.alpn"]
    types = {"1": "A", "28": "AAAA", "65": "HTTPS", "16": "TXT"}
    rcodes = {"0": "NOERROR", "3": "NXDOMAIN"}
    rows = []
    for *cells, question, kind, rcode, truncated, cname, a, aaaa, alpn in tshark(
        here / name, "dns.flags.response == 1", fields
    ):
        server, _, client, _ = ends(cells)
        answers = [word for group in (cname, a, aaaa) for word in group.split(",") if word]
        answers += [f"alpn={alpn.replace(',', '+')}"] if alpn else []
        answers += ["truncated"] if truncated in ("1", "True") else []
        proto = "tcp" if cells[2] else "udp"
        rows.append(
            (
                name,
                proto,
                client,
                server,
                question,
                types.get(kind, kind),
                rcodes.get(rcode, rcode),
                ",".join(answers) or "-",
            )
        )
    return rows


def write_tsv(path: Path, header: str, rows: list[tuple]) -> None:
    lines = ["#" + "\t".join(header.split())] + ["\t".join(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


# ------------------------------------------------------------------------------------------------ the README's tables


def describe(readme: Path, versions: Path | None, present: list[str], hellos: list[tuple], clear: list[tuple]) -> None:
    text = readme.read_text()
    if versions:
        text = between(text, "versions", "".join(f"- {line}\n" for line in versions.read_text().splitlines()))
    tables = []
    for name in present:
        rows = [row for row in hellos + clear if row[0] == name]
        if rows:
            tables.append(table(name, rows))
    readme.write_text(between(text, "contents", "\n".join(tables)))


def between(text: str, mark: str, content: str) -> str:
    opening, closing = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    head, rest = text.split(opening, 1)
    _, tail = rest.split(closing, 1)
    return f"{head}{opening}{content}{closing}{tail}"


def table(name: str, rows: list[tuple]) -> str:
    lines = [f"### {name}", "", "| proto | client | server | name | alert | why |", "|---|---|---|---|---|---|"]
    for _, proto, src, sport, dst, dport, host in rows:
        alert, why = judge(name, dst, host)
        lines.append(f"| {proto} | {src} : {sport} | {dst} : {dport} | {host} | {alert} | {why} |")
    return "\n".join(lines) + "\n"


def judge(capture: str, server: str, name: str) -> tuple[str, str]:
    if name == "-":
        alert, why = NAMELESS[(capture, server)]
        return ("**yes**" if alert == "yes" else "no"), why
    host = BY_NAME[plain(name)]
    if host.alert == "yes":
        return "**yes**", f"{host.service}, {host.verdict}: {host.why}"
    return "no", host.why


BY_NAME = {host.name: host for host in read_hosts()}


# ---------------------------------------------------------------------------------------------- the servers' own words


def compare_with_servers(recorded: list[str], hellos: list[tuple], clear: list[tuple], nginx: Path, quic: Path) -> None:
    told = {(proto, *flow, sni.lower()) for capture, proto, *flow, sni in hellos if stem(capture) in recorded}
    told |= {("http", *flow, name.lower()) for capture, proto, *flow, name in clear if stem(capture) in recorded}
    heard = set()
    for line in nginx.read_text().splitlines():
        *flow, sni, host, version = line.split("\t")
        if flow[0].startswith(("10.66.0.", "fd66::", "10.67.0.", "fd67::")):  # the proxy's own requests are on no tap
            heard.add(("http", *flow, host.lower()) if version == "-" else ("tls", *flow, sni.lower()))
    for line in quic.read_text().splitlines():
        *flow, authority = line.split("\t")
        heard.add(("quic", *flow, authority.rsplit(":", 1)[0].lower()))
    for row in sorted(heard - told):
        print("only the server saw", *row, file=sys.stderr)
    # A browser opens spare connections and asks nothing on them: no server logs those.
    for row in sorted(told - heard):
        if row[0] in ("tls", "quic") and row[4] in ("443", "8443", "8444"):
            print("hello without a request:", *row, file=sys.stderr)
    if heard - told:
        sys.exit("tshark and the servers do not agree")
    print(f"tshark and the servers agree on {len(heard)} flows", file=sys.stderr)


def check_owners(hellos: list[tuple]) -> None:
    """A name said to a web server is one of that address."""
    for capture, _, _, _, server, port, sni in hellos:
        web = port in ("443", "8443", "8444", "4433", "4434")
        if sni != "-" and web and server not in BY_NAME[plain(sni)].addresses:
            sys.exit(f"{capture}: {sni} was said to {server}, which is another's address")


def plain(name: str) -> str:
    return name.lower().rstrip(".").rsplit(":", 1)[0]


def stem(capture: str) -> str:
    return capture.split(".")[0]


if __name__ == "__main__":
    main()
