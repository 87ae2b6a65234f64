"""The invented internet of the lab: which host has which addresses, as read from hosts.tsv."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    name: str
    addresses: tuple[str, ...]
    alpn: tuple[str, ...]  # what its HTTPS record offers; none: no such record
    aliases: tuple[str, ...]  # CNAMEs between the name and its addresses
    service: str
    alert: str
    verdict: str
    why: str


def _words(cell: str) -> tuple[str, ...]:
    return () if cell == "-" else tuple(cell.split(","))


def read_hosts() -> list[Host]:
    hosts = []
    for line in Path(__file__).with_name("hosts.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            name, addresses, alpn, aliases, *rest = line.split("\t")
            hosts.append(Host(name, _words(addresses), _words(alpn), _words(aliases), *rest))
    return hosts
