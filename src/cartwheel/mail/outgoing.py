"""A message as it is handed to a transport, and whether and how it can be put to a server. Pure.

The message goes out to the byte as it was made, so that its signature holds: what would have to be changed is refused.
"""

import re
from collections.abc import Mapping

import msgspec
from email_validator import EmailNotValidError, validate_email

from cartwheel.mail.replies import Fate, Outcome, Phase

_UNSPEAKABLE = re.compile(r"[\x00-\x20\x7f-\x9f<>\u2028\u2029\ud800-\udfff]")
"""In a command these would end the address, or the command."""

# Each begins with one byte, because that is what `re` finds quickly: ten times as quickly as with the byte before it.
_BARE_LF = re.compile(rb"\n(?<!\r\n)")
_BARE_CR = re.compile(rb"\r(?!\n)")

_BARE = "the message has line ends that are not CRLF: servers disagree where it would end"

_SIZE = "SIZE"


class Outgoing(msgspec.Struct, frozen=True):
    """One message to one recipient. The lines of `data` end with CRLF."""

    envelope_from: str
    to: str
    data: bytes
    as_on_the_wire: bool = False
    """It is known that every line ends with CRLF and none begins with a dot, so that nobody has to look."""


class Refused(Exception):
    """It cannot be sent as it is, now and ever."""

    def __init__(self, why: str, *, hard: bool = False) -> None:
        super().__init__(why)
        self.outcome = Outcome(Fate.NEVER, Phase.CHECK, why, hard=hard)


def on_the_wire(message: Outgoing) -> bytes:
    """The message as it crosses the wire, without the final dot; raises `Refused` for what no server may be sent."""
    if _UNSPEAKABLE.search(message.envelope_from):
        raise Refused("the sender's address has characters that cannot be sent")
    if not message.to or _UNSPEAKABLE.search(message.to):
        raise Refused("the address has characters that cannot be sent", hard=True)
    data = message.data
    if message.as_on_the_wire:
        return data
    if _BARE_LF.search(data) or _BARE_CR.search(data):
        raise Refused(_BARE)
    data = data.replace(b"\r\n.", b"\r\n..")
    if data.startswith(b"."):
        data = b"." + data
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def envelope(message: Outgoing, extensions: Mapping[str, str]) -> tuple[bytes, bytes]:
    """MAIL and RCPT for a server that offers these extensions; raises `Refused`."""
    sender, recipient = message.envelope_from, message.to
    if not (sender.isascii() and recipient.isascii()):
        sender, recipient = _plain_domain(sender), _plain_domain(recipient)
    parameters = "".join(_parameters(message, sender + recipient, extensions))
    return f"MAIL FROM:<{sender}>{parameters}\r\n".encode(), f"RCPT TO:<{recipient}>\r\n".encode()


def _parameters(message: Outgoing, addresses: str, extensions: Mapping[str, str]) -> list[str]:
    data, found = message.data, []
    if _SIZE in extensions:
        most = extensions[_SIZE]
        if most.isdecimal() and 0 < int(most) < len(data):
            raise Refused(f"the message has {len(data)} bytes, the server takes {most}")
        found.append(f" SIZE={len(data)}")
    if not data.isascii():
        if "8BITMIME" not in extensions:
            raise Refused("the message has 8-bit bytes, and the server takes none (8BITMIME)")
        found.append(" BODY=8BITMIME")
    if not addresses.isascii() or not (data.isascii() or data.partition(b"\r\n\r\n")[0].isascii()):
        if "SMTPUTF8" not in extensions:
            what = "its headers are" if addresses.isascii() else "an address is"
            raise Refused(f"{what} not ASCII, and the server takes no such message (SMTPUTF8)")
        found.append(" SMTPUTF8")
    return found


def _plain_domain(address: str) -> str:
    """The address with its domain as the DNS has it, which every server understands."""
    local, at, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return f"{local}{at}{validate_email(f'x@{domain}', check_deliverability=False).ascii_domain}"
    except EmailNotValidError:
        raise Refused("the address has a domain that cannot exist", hard=True) from None
