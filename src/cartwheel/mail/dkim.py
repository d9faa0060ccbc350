"""DKIM signatures (RFC 6376, RFC 8463), and the DNS records by which receivers believe them. Pure but for `new_key`."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from cartwheel.errors import CartwheelError

Headers = Sequence[tuple[bytes, bytes]]
"""Names and values, in the order of the message; a value may be folded."""

PrivateKey = RSAPrivateKey | Ed25519PrivateKey
PublicKey = RSAPublicKey | Ed25519PublicKey


class CannotSign(CartwheelError):
    """Mail cannot be signed with this key, or for this domain."""


class Algorithm(StrEnum):
    """By the names that they have in DNS. Every receiver knows RSA; Ed25519 is quicker, to be added beside it."""

    RSA = "rsa"
    ED25519 = "ed25519"


# -- keys --

_LEAST_BITS = 1024
_BITS = 2048
"""Longer keys do not fit every DNS provider's form."""


def new_key(algorithm: Algorithm) -> bytes:
    """A private key as PEM."""
    key = generate_private_key(65537, _BITS) if algorithm is Algorithm.RSA else Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(pem: bytes) -> PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CannotSign("the key is no private key in PEM form without a password") from None
    if isinstance(key, RSAPrivateKey) and key.key_size < _LEAST_BITS:
        raise CannotSign(f"receivers do not accept RSA keys of fewer than {_LEAST_BITS} bits")
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise CannotSign("the key is neither an RSA nor an Ed25519 key")
    return key


def _algorithm_of(key: PrivateKey | PublicKey) -> Algorithm:
    return Algorithm.RSA if isinstance(key, RSAPrivateKey | RSAPublicKey) else Algorithm.ED25519


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})+", re.ASCII | re.IGNORECASE)
_SELECTOR = re.compile(rf"(?=.{{1,63}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII | re.IGNORECASE)


# -- signing --

_SIGNED = {
    b"from": True,
    b"reply-to": True,
    b"to": True,
    b"cc": True,
    b"subject": True,
    b"date": True,
    b"message-id": True,
    b"mime-version": True,
    b"content-type": True,
    b"list-unsubscribe": True,
    b"list-unsubscribe-post": True,
    b"content-transfer-encoding": False,
    b"sender": False,
    b"in-reply-to": False,
    b"references": False,
    b"list-id": False,
    b"list-help": False,
    b"auto-submitted": False,
    b"feedback-id": False,
}
"""The headers that are signed, and whether their absence is signed too. One that is there is named once more than it is
there, so that none can be added to it: else who gets hold of a mail could send it on under another subject."""


class Signer:
    """Signs for one domain with one key."""

    def __init__(self, domain: str, selector: str, private_key_pem: bytes) -> None:
        if not _DOMAIN.fullmatch(domain):
            raise CannotSign(f"{domain[:80]!r} is no domain")
        if not _SELECTOR.fullmatch(selector):
            raise CannotSign(f"{selector[:80]!r} is no selector: it is a name like those between the dots of a domain")
        self.domain = domain.lower()
        self.selector = selector.lower()
        self._key = _read_key(private_key_pem)
        self.algorithm = _algorithm_of(self._key)
        self._start = (
            f"v=1; a={self.algorithm}-sha256; c=relaxed/relaxed;\r\n d={self.domain}; s={self.selector};\r\n".encode()
        )

    @property
    def public_key(self) -> PublicKey:
        return self._key.public_key()

    def sign(self, headers: Headers, body: bytes, at: int) -> bytes:
        """The folded value of the header `DKIM-Signature`; `at` is in seconds since 1970."""
        return sign([self], headers, body, at)[0]

    def _sign(self, lines: bytes, names: bytes, body_hash: bytes, at: int) -> bytes:
        unsigned = b"%b t=%d; bh=%b;\r\n h=%b;\r\n b=" % (self._start, at, body_hash, names)
        signed = lines + b"dkim-signature:" + _canonical_value(unsigned)
        if isinstance(self._key, RSAPrivateKey):
            signature = self._key.sign(signed, PKCS1v15(), SHA256())
        else:
            signature = self._key.sign(hashlib.sha256(signed).digest())
        return unsigned + _folded(base64.b64encode(signature))


def sign(signers: Sequence[Signer], headers: Headers, body: bytes, at: int) -> list[bytes]:
    """A header's value from each of the signers; what they have in common is worked out once.

    Headers and body are those that go over the wire, with CRLF at the end of their lines.
    """
    body_hash = base64.b64encode(hashlib.sha256(canonical_body(body)).digest())
    lines, names = _selected(headers)
    folded_names = _folded_names(names)
    return [signer._sign(lines, folded_names, body_hash, at) for signer in signers]  # noqa: SLF001


def _selected(headers: Headers) -> tuple[bytes, tuple[bytes, ...]]:
    """The lines to sign, and the names as the signature gives them. Of those of one name the last comes first."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        name = name.lower()
        if name in _SIGNED:
            found.setdefault(name, []).append(b"%b:%b\r\n" % (name, _canonical_value(value)))
    if b"from" not in found:
        raise CannotSign("a message without From cannot be signed")
    lines: list[bytes] = []
    names: list[bytes] = []
    for name, always in _SIGNED.items():
        there = found.get(name, [])
        lines += reversed(there)
        names += [name] * (len(there) + 1 if there or always else 0)
    return b"".join(lines), tuple(names)


def _canonical_value(value: bytes) -> bytes:
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return _single_spaces(value).strip(b" ")


def canonical_body(body: bytes) -> bytes:
    """RFC 6376, 3.4.4: single spaces, none at the end of a line, no empty lines at the end.

    A body that is so already costs three scans.
    """
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    body = _single_spaces(body)
    if b" \r\n" in body:
        body = body.replace(b" \r\n", b"\r\n")
    end = len(body)
    while body.endswith(b"\r\n\r\n", 0, end):
        end -= 2
    return b"" if body[:end] == b"\r\n" else body[:end]


def _single_spaces(text: bytes) -> bytes:
    """Without those at its very end. Splitting takes half as long as a regular expression."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    if b"  " in text:
        start = b" " if text.startswith(b" ") else b""
        text = start + b" ".join(filter(None, text.split(b" ")))
    return text


_LINE = 76


@lru_cache(maxsize=256)
def _folded_names(names: tuple[bytes, ...]) -> bytes:
    """What stands after `h=`."""
    lines = [b"h="]
    for name in names:
        if len(lines[-1]) + len(name) >= _LINE:
            lines.append(b"")
        lines[-1] += name + b":"
    return b"\r\n ".join(lines)[len(b"h=") : -1]


def _folded(signature: bytes) -> bytes:
    """What stands after `b=`."""
    first = _LINE - len(b"b=")
    rest = (signature[start : start + _LINE] for start in range(first, len(signature), _LINE))
    return b"\r\n ".join([signature[:first], *rest])


# -- DNS --

_LONGEST_STRING = 255


@dataclass(frozen=True)
class Record:
    """A record for the domain's DNS, and what to do with it."""

    name: str
    type: str
    value: str
    advice: str

    @property
    def strings(self) -> list[str]:
        """The value in pieces that DNS can carry; receivers join them."""
        return [self.value[start : start + _LONGEST_STRING] for start in range(0, len(self.value), _LONGEST_STRING)]

    @property
    def zone_line(self) -> str:
        """As a name server's zone file has it."""
        strings = " ".join(f'"{string}"' for string in self.strings)
        return f"{self.name}. IN {self.type} {strings}"


def dns_records(
    domain: str,
    selector: str,
    public_key: PublicKey,
    *,
    carriers: Sequence[str] = (),
    spf: str = "",
    dmarc: str = "",
) -> list[Record]:
    """What the domain's DNS has to say so that receivers believe its mail, without taking anything from other senders.

    `carriers` are the SPF terms of the machines that carry the mail out, such as `include:spf.relay.example`; without
    any there is nothing to add to SPF. `spf` and `dmarc` are the records that are there already.
    """
    records = [
        Record(
            f"{selector}._domainkey.{domain}",
            "TXT",
            f"v=DKIM1; k={_algorithm_of(public_key)}; p={_published(public_key)}",
            "Add this record. It stands under a name of its own: the keys of other services stay as they are.",
        )
    ]
    if carriers:
        records.append(_spf_record(domain, carriers, spf))
    records.append(_dmarc_record(domain, dmarc))
    return records


def _published(key: PublicKey) -> str:
    if isinstance(key, Ed25519PublicKey):
        return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


_LAST_TERM = re.compile(r"[-+~?]?all|redirect=.*|exp=.*", re.IGNORECASE)


def _spf_record(domain: str, carriers: Sequence[str], there: str) -> Record:
    """New terms stand before the one that answers for all the rest; what was there stays."""
    terms = there.split()
    if [term.lower() for term in terms[:1]] != ["v=spf1"]:
        value = " ".join(["v=spf1", *carriers, "?all"])
        advice = (
            "A domain has one SPF record. If there is one already, do not add this: put its middle terms into that one. "
            "When everybody who sends for the domain is named, its end may become ~all."
        )
        return Record(domain, "TXT", value, advice)
    known = {term.lower() for term in terms}
    new = [carrier for carrier in carriers if carrier.lower() not in known]
    place = next((place for place, term in enumerate(terms) if _LAST_TERM.fullmatch(term)), len(terms))
    value = " ".join(terms[:place] + new + terms[place:])
    if not new:
        return Record(domain, "TXT", there, "Leave this record as it is: it names the carriers of this mail.")
    return Record(
        domain, "TXT", value, f"Change the SPF record to this: it adds {' '.join(new)} and takes nothing away."
    )


def _dmarc_record(domain: str, there: str) -> Record:
    name = f"_dmarc.{domain}"
    if there.lower().startswith("v=dmarc1"):
        return Record(name, "TXT", there, "Leave this record as it is: mail with the signature above fulfils it.")
    advice = (
        "Add this record if there is none, neither here nor at the domain above this one. It asks nobody to refuse "
        "anything, and the large mailbox providers want to see one."
    )
    return Record(name, "TXT", "v=DMARC1; p=none", advice)
