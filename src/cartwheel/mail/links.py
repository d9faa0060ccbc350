"""Signed addresses in mails: nobody can make one up, and nothing has to be looked up to understand one. Pure.

A token says what it is for and which mail it stands in, followed by a MAC over both. It never ends: mails are kept.

Where a click leads stands beside the token in the address, and under its MAC. The other way, a table of targets that
the token points into, would need a query for each click and a row for each value of a merge field, and links would
break when a step is edited or the ledger is tidied up. This way readers and their mail programs also see where they are
going. The price is a longer address; the redirect is no more open than with a table, because only a target that was
signed for this link of this mail is followed.
"""

import base64
import hmac
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple


class Kind(IntEnum):
    """What a token is for. The numbers stand in mails that have gone out: none is ever used for something else."""

    UNSUBSCRIBE = 1
    PREFERENCES = 2
    OPEN = 3
    CLICK = 4
    BOUNCE = 5
    MESSAGE = 6


class MailId(NamedTuple):
    """A row of the ledger of mail."""

    account_id: int
    lead_id: int
    mail_id: int


class Payload(NamedTuple):
    """What a token says; `link` is the number of the link that was clicked."""

    kind: Kind
    mail: MailId
    link: int = 0


_LEAST_SECRET = 16
_PURPOSE = b"cartwheel: addresses in mails"

_MAC = 16
_SHORT_MAC = 12
"""In local parts, of which mail servers take 64 characters. Guessing 96 bits by mail is no easier than 128."""
_LONGEST_LOCAL_PART = 64
_LONGEST_TOKEN = 100


class Signer:
    """Writes and reads the addresses of one installation; `secret` is what makes them its own."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _LEAST_SECRET:
            raise ValueError(f"a secret has {_LEAST_SECRET} bytes or more")
        self._key = hmac.digest(secret, _PURPOSE, "sha256")

    def token(self, kind: Kind, mail: MailId, link: int = 0, target: str = "") -> str:
        """For a path: letters, digits, `-` and `_`. Whoever comes with it has to bring the same `target`."""
        return _as_base64(self._seal(_pack(kind, mail, link), target, _MAC))

    def read(self, token: str, target: str = "") -> Payload | None:
        """None for everything that `token` did not write for this target."""
        return self._open(_exactly(token, _from_base64, _as_base64), target, _MAC)

    def bounce_address(self, mail: MailId, mailbox: str) -> str:
        """The mailbox (`bounces@acme.example`) with the mail's token: `bounces+…@acme.example`.

        Mailboxes that know such sub-addresses and domains that take any address both receive it. It stays what it is in
        capitals. A name of 11 letters always fits; a ValueError says that one does not.
        """
        name, _, domain = mailbox.rpartition("@")
        local = f"{name}+{self._local(Kind.BOUNCE, mail)}"
        if len(local) > _LONGEST_LOCAL_PART:
            raise ValueError(f"the mailbox {name} has too long a name to take a token")
        return f"{local}@{domain}"

    def read_bounce_address(self, address: str) -> MailId | None:
        """Also when others have put something before it, as forwarders do."""
        return self._read_local(Kind.BOUNCE, address)

    def message_id(self, mail: MailId, domain: str) -> str:
        """The header's value: always the same for the same mail, so that it can be recognised in answers and bounces."""
        return f"<{self._local(Kind.MESSAGE, mail)}@{domain}>"

    def read_message_id(self, text: str) -> MailId | None:
        """With or without its angle brackets."""
        return self._read_local(Kind.MESSAGE, text.strip().removeprefix("<"))

    def _local(self, kind: Kind, mail: MailId) -> str:
        return _as_base32(self._seal(_pack(kind, mail, 0), "", _SHORT_MAC))

    def _read_local(self, kind: Kind, address: str) -> MailId | None:
        if not address.isascii():
            return None
        token = address.rpartition("@")[0].rpartition("+")[2].lower()
        found = self._open(_exactly(token, _from_base32, _as_base32), "", _SHORT_MAC)
        return found.mail if found and found.kind is kind else None

    def _seal(self, packed: bytes, target: str, length: int) -> bytes:
        return packed + self._mac(packed, target)[:length]

    def _open(self, sealed: bytes, target: str, length: int) -> Payload | None:
        packed, mac = sealed[:-length], sealed[-length:]
        return _unpack(packed) if hmac.compare_digest(mac, self._mac(packed, target)[:length]) else None

    def _mac(self, packed: bytes, target: str) -> bytes:
        """The length keeps the border between the two: else a target's beginning could be moved into the token."""
        signed = bytes((len(packed),)) + packed + target.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, signed, "sha256")


def _pack(kind: Kind, mail: MailId, link: int) -> bytes:
    packed = bytes((kind,)) + _pack_numbers(mail)
    return packed + _pack_numbers((link,)) if kind is Kind.CLICK else packed


@lru_cache(maxsize=256)
def _pack_numbers(numbers: tuple[int, ...]) -> bytes:
    """Sevens of bits, the lowest first; all bytes but a number's last have their highest bit set."""
    packed = []
    for number in numbers:
        while number > _SEVEN_BITS:
            packed.append(number & _SEVEN_BITS | _MORE)
            number >>= 7
        packed.append(number)
    return bytes(packed)


_SEVEN_BITS = 0x7F
_MORE = 0x80


def _unpack(packed: bytes) -> Payload:
    """What `_pack` made, and nothing else."""
    numbers = [0]
    shift = 0
    for byte in packed[1:]:
        numbers[-1] |= (byte & _SEVEN_BITS) << shift
        shift += 7
        if byte < _MORE:
            numbers.append(0)
            shift = 0
    account_id, lead_id, mail_id, link, *_ = numbers
    return Payload(Kind(packed[0]), MailId(account_id, lead_id, mail_id), link)


def _exactly(text: str, decode: Callable[[str], bytes], encode: Callable[[bytes], str]) -> bytes:
    """Empty for what cannot be decoded, and for what `encode` would have written otherwise: a token has one spelling."""
    if len(text) > _LONGEST_TOKEN:
        return b""
    try:
        sealed = decode(text)
    except ValueError:
        return b""
    return sealed if encode(sealed) == text else b""


def _as_base64(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _as_base32(sealed: bytes) -> str:
    return base64.b32encode(sealed).rstrip(b"=").decode().lower()


def _from_base32(text: str) -> bytes:
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8))
