"""Addresses: allow-lists, and who really calls when there are proxies in between. Pure."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")

_MAPPED_BITS = 96
"""The prefix ::ffff:0:0/96 holds the IPv4 addresses."""


def read_address(text: str) -> Address | None:
    """An address as peers and proxies write it: with a port, in brackets, with a zone, IPv4 inside IPv6."""
    text = text.strip().strip('"')
    if with_port := _WITH_PORT.fullmatch(text):
        text = with_port[1] or with_port[2]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def read_network(text: str) -> Network:
    """`203.0.113.0/24`, `2001:db8::/32` or one address; raises ValueError."""
    network = ipaddress.ip_network(text.strip(), strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def read_networks(texts: Iterable[str]) -> tuple[Network, ...] | None:
    """All of them, or None when one cannot be read: then nobody may be let in by this list."""
    try:
        return tuple(read_network(text) for text in texts)
    except ValueError:
        return None


def within(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(
        address.version == network.version and address in network for network in networks
    )


def is_this_machine(host: str) -> bool:
    """Whether a host of a URL is the machine that asks: what is said to it crosses no network."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed(address: Address | None, networks: tuple[Network, ...] | None) -> bool:
    """Whether an allow-list lets the address in; an empty list lets everybody in."""
    return networks is not None and (not networks or within(address, networks))


@dataclass(frozen=True)
class Client:
    """Who calls: None for an address that cannot be read; `secure` when the client's own hop was encrypted."""

    address: Address | None
    secure: bool

    @cached_property
    def is_loopback(self) -> bool:
        return self.address is not None and self.address.is_loopback

    @cached_property
    def text(self) -> str:
        return str(self.address)

    @cached_property
    def prefix(self) -> str:
        """What failures are counted by: the address, or an IPv6 customer's /64."""
        if isinstance(self.address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((self.address, 64), strict=False))
        return self.text


_LONGEST_REMEMBERED = 200
"""Longer forwarding headers are read anew each time, so that hostile ones cannot fill the memory."""


def find_client(
    peer: str, *, tls: bool, forwarded_for: str, forwarded_proto: str, proxies: tuple[Network, ...]
) -> Client:
    """The client behind the trusted proxies; the last few thousand are remembered."""
    find = _remember_client if len(forwarded_for) + len(forwarded_proto) <= _LONGEST_REMEMBERED else _find_client
    return find(peer, tls, forwarded_for, forwarded_proto, proxies)


def _find_client(
    peer: str,
    tls: bool,  # noqa: FBT001 - the memory needs plain arguments
    forwarded_for: str,
    forwarded_proto: str,
    proxies: tuple[Network, ...],
) -> Client:
    """The client behind the trusted proxies.

    `X-Forwarded-For` is read from its right end: each hop that is one of our proxies vouches for the one before it; the
    first that is not is the client, and everything left of it may be forged. `X-Forwarded-Proto` counts as https only
    if every proxy in the chain says so. For whom a proxy calls that tells the scheme but no address, nobody knows.
    """
    address = read_address(peer)
    if not proxies or not within(address, proxies):
        return Client(address, tls)
    schemes = {scheme.strip().lower() for scheme in forwarded_proto.split(",")} if forwarded_proto else set()
    for hop in reversed(forwarded_for.split(",") if forwarded_for or schemes else []):
        address = read_address(hop)
        if not within(address, proxies):
            break
    return Client(address, schemes == {"https"} if schemes else tls)


_remember_client = lru_cache(maxsize=4096)(_find_client)
