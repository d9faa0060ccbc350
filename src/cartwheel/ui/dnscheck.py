"""What the DNS says of a sender domain, held against what it has to say."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import dns.exception
import dns.resolver

from cartwheel.mail import dkim
from cartwheel.mail.dkim import Record, Signer

PATIENCE_S = 3.0
ALL_PATIENCE_S = 8.0


class Found(StrEnum):
    RIGHT = "right"
    OTHER = "other"
    """There is a record, and it says something else."""
    MISSING = "missing"
    UNKNOWN = "unknown"
    """The DNS did not answer."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A record that has to be there, and what is."""

    record: Record
    found: Found | None = None
    there: str = ""


class NoAnswer(Exception):
    """The DNS cannot be asked just now."""


class Dns:
    """Asks the machine's resolver, or the one that is given."""

    def __init__(self, resolver: dns.resolver.Resolver | None = None) -> None:
        self._resolver = resolver

    def texts(self, name: str) -> list[str]:
        """The TXT records of a name, none if it has none. Raises `NoAnswer`."""
        try:
            resolver = self._resolver or dns.resolver.Resolver()
            answer = resolver.resolve(name, "TXT", lifetime=PATIENCE_S)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as trouble:
            raise NoAnswer from trouble
        return [b"".join(entry.strings).decode("utf-8", "replace") for entry in answer]


class Hasty:
    """Asks as long as there is time, because somebody waits for all of the answers."""

    def __init__(self, asked: Dns) -> None:
        self._asked = asked
        self._until = time.monotonic() + ALL_PATIENCE_S

    def texts(self, name: str) -> list[str]:
        """Raises `NoAnswer`, also if there is no time left."""
        if time.monotonic() >= self._until:
            raise NoAnswer
        return self._asked.texts(name)


def records(signers: Sequence[Signer], spf: str = "", dmarc: str = "") -> list[Record]:
    """What a domain with these keys has to publish, each record once."""
    each = (
        dkim.dns_records(signer.domain, signer.selector, signer.public_key, spf=spf, dmarc=dmarc) for signer in signers
    )
    return list(dict.fromkeys(record for some in each for record in some))


def check(dns_: Dns | Hasty, signers: Sequence[Signer]) -> list[Checked]:
    """Ask for each of a domain's records."""
    return [_check(dns_, record) for record in records(signers)]


def spf(dns_: Dns | Hasty, domain: str) -> str | None:
    """The domain's SPF record, empty if there is none; None if nobody can tell."""
    try:
        return next((text for text in dns_.texts(domain) if text.lower().startswith("v=spf1")), "")
    except NoAnswer:
        return None


def _check(dns_: Dns | Hasty, record: Record) -> Checked:
    kind = record.value.partition(";")[0].strip().lower()
    try:
        there = [text for text in _texts(dns_, record.name) if text.lower().startswith(kind) or "p=" in text]
    except NoAnswer:
        return Checked(record, Found.UNKNOWN)
    if not there:
        return Checked(record, Found.MISSING)
    if kind == "v=dmarc1":
        return Checked(record, Found.RIGHT, there[0])
    wanted = _key(record.value)
    right = next((text for text in there if _key(text) == wanted), None)
    return Checked(record, Found.OTHER if right is None else Found.RIGHT, right or there[0])


def _texts(dns_: Dns | Hasty, name: str) -> list[str]:
    """For DMARC, the domain above answers where this one has no record."""
    found = dns_.texts(name)
    mark, _, domain = name.partition(".")
    if mark != "_dmarc" or found or domain.count(".") < 2:  # noqa: PLR2004 - shop.example has none above it
        return found
    return _texts(dns_, f"{mark}.{domain.partition('.')[2]}")


def _key(text: str) -> str:
    """What stands after `p=`, as spaces may stand anywhere in it."""
    parts = (part.strip().partition("=") for part in text.split(";"))
    return next(("".join(value.split()) for name, _, value in parts if name.strip().lower() == "p"), "")
