"""Which addresses may be called, and a way to call them that cannot be led elsewhere.

A host's name is looked up once for a connection, and the connection goes to the address that was looked at: whatever the
name says a moment later. TLS is verified against the name. There is no proxy, and nobody follows a redirect.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore

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


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Looks a host up, and connects to the addresses that may be called, one after the other."""

    MOST_TRIED = 3

    def __init__(self, *, allow_private: bool, resolve: Resolve = resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self._resolve(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be found: {error}") from error
        trouble: httpcore.ConnectError | None = None
        for address in self._permitted(host, addresses)[: self.MOST_TRIED]:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                trouble = error
        raise trouble or httpcore.ConnectError(f"{host} has no address")

    def _permitted(self, host: str, addresses: list[str]) -> list[str]:
        if self._allow_private or not addresses:
            return addresses
        told = {text: refusal(ipaddress.ip_address(text.partition("%")[0])) for text in addresses}
        permitted = [text for text, why in told.items() if not why]
        if not permitted:
            text, why = next(iter(told.items()))
            raise Forbidden(f"{host} is not called: {text} {why} (CARTWHEEL_ALLOW_PRIVATE_TARGETS)")
        return permitted

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the interface's
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        raise Forbidden(path)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


MOST_CONNECTIONS = 500


def pool(*, allow_private: bool, trust: ssl.SSLContext | None = None) -> httpcore.AsyncConnectionPool:
    """Connections to whatever may be called, kept for a while. `trust` is whom certificates have to be from."""
    return httpcore.AsyncConnectionPool(
        ssl_context=trust or ssl.create_default_context(),
        max_connections=MOST_CONNECTIONS,
        max_keepalive_connections=100,
        keepalive_expiry=30,
        network_backend=PinnedBackend(allow_private=allow_private),
    )
