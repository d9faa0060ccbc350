"""Which addresses may be called, and a way to call them that cannot be led elsewhere.

A host's name is looked up once for a connection, and the connection goes to the address that was looked at: whatever the
name says a moment later. TLS is verified against the name. There is no proxy, and nobody follows a redirect.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from cartwheel.errors import CartwheelError
from cartwheel.network import Address, read_network, within

_METADATA = [
    read_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's, which is public by its number
        "192.0.0.0/24",  # Oracle's, among others
        "fd00:ec2::254/128",
    )
]

_AROUND = [
    read_network(text)
    for text in (
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64: an IPv4 address inside
        "64:ff9b:1::/48",
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local, as it was
    )
] + [ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("::ffff:0:0:0/96")]
"""IPv6 that may stand for an IPv4 address, public or not: nobody needs it as a target."""


class Forbidden(CartwheelError):
    """The target may not be called."""


def refusal(address: Address) -> str:
    """Why the address is not called; empty if it may be."""
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return "is no address of a host"
    if address.is_loopback:
        return "is this machine"
    if address.is_link_local or within(address, _METADATA):
        return "is link-local, or a cloud's metadata"
    if within(address, _AROUND):
        return "stands for another address"
    if address.is_private or not address.is_global:
        return "is of a private network"
    return ""


Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, the preferred first; raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Resolver(AbstractResolver):
    """Looks a name up, and tells those of its addresses that may be called."""

    MOST_TRIED = 3

    def __init__(self, *, allow_private: bool, resolve: Resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the interface's; it is never another
    ) -> list[ResolveResult]:
        """Raises `Forbidden` or `OSError`."""
        try:
            addresses = await self._resolve(host, port)
        except UnicodeError as error:
            raise OSError(str(error)) from error
        if not self._allow_private:
            addresses = permitted(host, addresses)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses[: self.MOST_TRIED]
        ]

    async def close(self) -> None:
        pass


def permitted(host: str, addresses: list[str]) -> list[str]:
    """Those of the host's addresses that may be called. Raises `Forbidden` if it has some, and none of them may."""
    told = {text: refusal(ipaddress.ip_address(text.partition("%")[0])) for text in addresses}
    found = [text for text, why in told.items() if not why]
    if addresses and not found:
        text, why = next(iter(told.items()))
        raise Forbidden(f"{host} is not called: {text} {why} (CARTWHEEL_ALLOW_PRIVATE_TARGETS)")
    return found


def _guarded_socket(target: aiohttp.AddrInfoType) -> socket.socket:
    """For every connection, just before it is made: also for addresses that are written as such, and never looked up."""
    family, kind, proto, _, address = target
    permitted(str(address[0]), [str(address[0])])
    return socket.socket(family, kind, proto)


MOST_CONNECTIONS = 500


def session(
    *, allow_private: bool, trust: ssl.SSLContext | None = None, resolve: Resolve = resolve
) -> aiohttp.ClientSession:
    """Connections to whatever may be called, kept for a while; made in the loop that uses it. `trust` is whom certificates
    have to be from.
    """
    connector = aiohttp.TCPConnector(
        ssl=trust or ssl.create_default_context(),
        limit=MOST_CONNECTIONS,
        keepalive_timeout=30,
        use_dns_cache=False,
        resolver=_Resolver(allow_private=allow_private, resolve=resolve),
        socket_factory=None if allow_private else _guarded_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),  # whoever calls has a time of its own
    )
