"""Signatures, checked by a verifier that somebody else wrote (dkimpy); its DNS is a dictionary."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import dkim as dkimpy
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from dkim.canonicalization import Relaxed
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cartwheel.mail.dkim import Algorithm, CannotSign, Record, Signer, canonical_body, dns_records, new_key, sign

Header = tuple[bytes, bytes]

quick = settings(max_examples=60, derandomize=True, deadline=None, database=None)

DOMAIN = "acme.example"
AT = 1_700_000_000
RSA = Signer(DOMAIN, "r2026", new_key(Algorithm.RSA))
ED25519 = Signer(DOMAIN, "e2026", new_key(Algorithm.ED25519))
SIGNERS = {"rsa": RSA, "ed25519": ED25519}
DNS = {
    record.name: "".join(record.strings)
    for signer in SIGNERS.values()
    for record in dns_records(signer.domain, signer.selector, signer.public_key)
}

HEADERS = [
    (b"From", b"Acme <hello@acme.example>"),
    (b"To", b"Linus <linus@shop.example>"),
    (b"Subject", b"=?utf-8?q?Welcome=2C?=\r\n =?utf-8?q?_Linus?="),
    (b"Date", b"Mon, 02 Mar 2026 09:00:00 +0000"),
    (b"Message-ID", b"<1@acme.example>"),
    (b"MIME-Version", b"1.0"),
    (b"Content-Type", b'multipart/alternative;\r\n\tboundary="b"'),
    (b"List-Unsubscribe", b"<https://acme.example/m/AAAA>"),
    (b"List-Unsubscribe-Post", b"List-Unsubscribe=One-Click"),
]
BODY = b"Hello  Linus, \r\n\r\n\tgood to see you.\r\n\r\n\r\n"

# -- the verifier --


class Ed25519Key:
    """What dkimpy wants of pynacl, done with cryptography; the rest of the check is dkimpy's."""

    def __init__(self, published: str) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(published))
        self.valid = False

    def verify(self, digest: bytes, signature: bytes) -> None:
        try:
            self._key.verify(signature, digest)
            self.valid = True
        except InvalidSignature:
            self.valid = False


def verified(message: bytes, which: int = 0, dns: dict[str, str] = DNS) -> bool:
    """Whether the message's first, second … signature holds."""
    checker = dkimpy.DKIM(message)
    fields, names, headers = checker.verify_headerprep(which)
    name = b"%b._domainkey.%b" % (fields[b"s"], fields[b"d"])
    try:
        if fields[b"a"] == b"rsa-sha256":
            return bool(checker.verify(which, dnsfunc=lambda asked, timeout: dns[asked.decode().rstrip(".")]))  # noqa: ARG005
        checker.pk = Ed25519Key(dns[name.decode()].partition("p=")[2])
        checker.keysize, checker.ktag, checker.seqtlsrpt = 256, b"ed25519", False
        checker.verify_sig_process(fields, names, headers[which], None)
    except dkimpy.ValidationError:
        return False
    return bool(checker.pk.valid)


def on_the_wire(headers: list[Header], body: bytes) -> bytes:
    """Mail servers end the last line of every message."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return lines + b"\r\n" + (body if body.endswith(b"\r\n") or not body else body + b"\r\n")


def signed(headers: list[Header], body: bytes, *signers: Signer) -> list[Header]:
    values = sign(signers or (RSA, ED25519), headers, body, AT)
    return [*((b"DKIM-Signature", value) for value in values), *headers]


EXAMPLE_OF_RFC_8463 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
PUBLIC_KEY_OF_RFC_8463 = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
PRIVATE_KEY_OF_RFC_8463 = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="


def test_the_verifier_can_tell() -> None:
    dns = {"brisbane._domainkey.football.example.com": f"v=DKIM1; k=ed25519; p={PUBLIC_KEY_OF_RFC_8463}"}
    assert verified(EXAMPLE_OF_RFC_8463, dns=dns)
    assert not verified(EXAMPLE_OF_RFC_8463.replace(b"Is dinner", b"was dinner"), dns=dns)
    assert not verified(EXAMPLE_OF_RFC_8463.replace(b"Hi", b"Ho"), dns=dns)


# -- signatures --

BLANKS = st.text(" \t", max_size=3).map(str.encode)
WORDS = st.lists(st.sampled_from([*range(0x21, 0x7F), *range(0x80, 0x100)]), max_size=8).map(bytes)
FOLDS = st.sampled_from([b" ", b"  ", b"\t", b"\r\n ", b"\r\n\t", b" \r\n  ", b"\r\n \r\n "])
VALUES = st.builds(
    lambda before, parts, after: before + b"".join(word + fold for word, fold in parts) + after,
    BLANKS,
    st.lists(st.tuples(WORDS.filter(bool), FOLDS), max_size=5),
    WORDS,
)
NAMES = st.sampled_from(["From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
                         "Content-Transfer-Encoding", "Sender", "List-ID", "List-Unsubscribe", "List-Unsubscribe-Post",
                         "List-Help", "Feedback-ID", "References", "X-Mailer", "Received", "b", "bh"])  # fmt: skip
CASES: st.SearchStrategy[Callable[[str], str]] = st.sampled_from([str, str.upper, str.lower, str.swapcase])
NAMED = st.builds(lambda name, case: case(name).encode(), NAMES, CASES)
MANY_HEADERS = st.builds(
    lambda sender, others, at: [*others[:at], (b"From", sender), *others[at:]],
    VALUES,
    st.lists(st.tuples(NAMED, VALUES), max_size=8),
    st.integers(0, 8),
)
BODIES = st.lists(
    st.sampled_from(
        [b" ", b"  ", b"\t", b" \t ", b"\r\n", b"\r\n\r\n", b".", b"a", b"=20", b"\xe9", b"\xc3\xa9", b"\0"]
    )
).map(b"".join)


@quick
@given(MANY_HEADERS, BODIES)
@example(HEADERS, BODY)
@example(HEADERS, b"")
@example(HEADERS, b"\r\n")
@example(HEADERS, b" \r\n\t\r\n")
@example(HEADERS, b"no line end")
@example(HEADERS, b"no line end \t")
@example(HEADERS, b"\r\n" * 5_000)
@example([(b"From", b"")], b"x")
def test_both_signatures_of_every_message_hold(headers: list[Header], body: bytes) -> None:
    message = on_the_wire(signed(headers, body), body)
    assert verified(message, 0)
    assert verified(message, 1)


@quick
@given(BODIES)
@example(b"")
@example(b"\r\n \r\n")
@example(b"  two  \t blanks \r\n")
def test_a_body_becomes_what_the_verifier_makes_of_it(body: bytes) -> None:
    canonical = canonical_body(body)
    wire = on_the_wire([], body)[2:]
    assert canonical == Relaxed.canonicalize_body(wire)
    assert canonical_body(canonical) == canonical


@quick
@given(BODIES, BODIES, st.sampled_from([RSA, ED25519]))
def test_another_body_is_found_out(body: bytes, another: bytes, signer: Signer) -> None:
    assume(canonical_body(body) != canonical_body(another))
    assert not verified(on_the_wire(signed(HEADERS, body, signer), another))


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
@pytest.mark.parametrize("place", range(len(HEADERS)), ids=[name.decode() for name, _ in HEADERS])
def test_a_header_that_is_changed_or_missing_is_found_out(place: int, signer: Signer) -> None:
    signature, *headers = signed(HEADERS, BODY, signer)
    name, value = headers[place]
    others = headers[:place], headers[place + 1 :]
    changed = [signature, *others[0], (name, value + b"!"), *others[1]]
    assert verified(on_the_wire([signature, *headers], BODY))
    assert not verified(on_the_wire(changed, BODY))
    assert not verified(on_the_wire([signature, *others[0], *others[1]], BODY))


ADDITIONS = [b"From", b"Reply-To", b"To", b"Cc", b"Subject", b"Date", b"Message-ID", b"MIME-Version", b"Content-Type",
             b"List-Unsubscribe", b"List-Unsubscribe-Post", b"Sender", b"List-ID", b"Feedback-ID", b"In-Reply-To",
             b"References", b"List-Help", b"Auto-Submitted", b"Content-Transfer-Encoding"]  # fmt: skip


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
@pytest.mark.parametrize("name", ADDITIONS, ids=bytes.decode)
def test_a_header_that_is_there_cannot_be_added_again(name: bytes, signer: Signer) -> None:
    headers = [*HEADERS, *((other, b"x") for other in ADDITIONS if other not in dict(HEADERS))]
    mail = signed(headers, BODY, signer)
    assert verified(on_the_wire(mail, BODY))
    assert not verified(on_the_wire([*mail, (name, b"added")], BODY))
    assert not verified(on_the_wire([(name, b"added"), *mail], BODY))


@pytest.mark.parametrize("name", ADDITIONS[:11], ids=bytes.decode)
def test_a_header_that_matters_cannot_be_added_where_there_was_none(name: bytes) -> None:
    headers = [(other, value) for other, value in HEADERS if other != name or other == b"From"]
    mail = signed(headers, BODY, ED25519)
    assert not verified(on_the_wire([*mail, (name, b"added")], BODY))


@pytest.mark.parametrize("name", [b"Received", b"X-Spam-Score", b"Authentication-Results", b"Sender", b"List-ID"])
def test_what_servers_add_on_the_way_does_no_harm(name: bytes) -> None:
    mail = signed(HEADERS, BODY)
    message = on_the_wire([(name, b"by mx.shop.example"), *mail], BODY)
    assert verified(message, 0)
    assert verified(message, 1)


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
def test_the_signature_itself_cannot_be_changed(signer: Signer) -> None:
    (name, value), *headers = signed(HEADERS, BODY, signer)
    for old, new in ((b"t=17", b"t=16"), (b"h=from:", b"h="), (b"d=acme", b"d=acne"), (b"from:from", b"from:x")):
        assert old in value
        dns = DNS | {f"{signer.selector}._domainkey.acne.example": DNS[f"{signer.selector}._domainkey.{DOMAIN}"]}
        assert not verified(on_the_wire([(name, value.replace(old, new, 1)), *headers], BODY), dns=dns)


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
def test_another_key_does_not_fit(signer: Signer) -> None:
    algorithm = Algorithm.RSA if signer is RSA else Algorithm.ED25519
    other = Signer(DOMAIN, signer.selector, new_key(algorithm))
    assert not verified(on_the_wire(signed(HEADERS, BODY, other), BODY))


@quick
@given(st.lists(NAMED))
def test_no_line_is_too_long(names: list[bytes]) -> None:
    for value in sign([RSA, ED25519], [(b"From", b"x"), *((name, b"x") for name in names)], b"", AT):
        lines = (b"DKIM-Signature: " + value).split(b"\r\n")
        assert all(0 < len(line) <= 78 for line in lines)
        assert all(line.startswith(b" ") and line.strip() for line in lines[1:])
        assert b"\n" not in value.replace(b"\r\n", b"")


def test_what_a_signature_says() -> None:
    value = RSA.sign(HEADERS, BODY, AT)
    fields: dict[bytes, Any] = dkimpy.util.parse_tag_value(value)
    body = b"Hello Linus,\r\n\r\n good to see you.\r\n"
    assert {name: fields[name] for name in (b"v", b"a", b"c", b"d", b"s", b"t")} == {
        b"v": b"1",
        b"a": b"rsa-sha256",
        b"c": b"relaxed/relaxed",
        b"d": b"acme.example",
        b"s": b"r2026",
        b"t": b"1700000000",
    }
    assert base64.b64decode(fields[b"bh"]) == hashlib.sha256(body).digest()
    assert b"l" not in fields
    names = b"".join(fields[b"h"].split()).split(b":")
    assert {name.lower() for name, _ in HEADERS} <= set(names)
    assert all(names.count(name.lower()) == 2 for name, _ in HEADERS)


def test_several_signatures_are_those_that_each_would_make() -> None:
    assert sign([RSA, ED25519], HEADERS, BODY, AT) == [RSA.sign(HEADERS, BODY, AT), ED25519.sign(HEADERS, BODY, AT)]


def test_a_message_without_a_sender_is_not_signed() -> None:
    with pytest.raises(CannotSign, match="From"):
        RSA.sign(HEADERS[1:], BODY, AT)


# -- keys --

WEAK_KEY = b"""\
-----BEGIN RSA PRIVATE KEY-----
MIIBPAIBAAJBAJ/unoi/MNsJNPob9g12llCskA/6bDiaE8IduC+yebWxaXoSPQvJ
iX3tzD10exK6+sr8yXmcZql6IrQw4kD8sf8CAwEAAQJAS4S/c07kYOlODLPbUawn
elyhggn7xBZtMgIakNszwWkPcIKi/LNkvUPj3U9eAjFgPAFgWDiaBEqdgjqSkh2b
wQIhANGz8oHxiyDXBZQnI+ncBSUggDGC7I81fwyc95/aElOPAiEAwz210HNzdN+N
QxzbODSdOo/rMZY41PKHJBSs0bmnwpECIQCMSYjLu45qys41nbWd5o4el06LUN32
tEApbP0PmHC4KwIhAJUmAkvAtpW05YQ8eheA0g/Xu9NAsB+1OpnMlY0Np+ORAiEA
oaVAf5+15EIfnX2R6L9ZTZccwC3pEmoPdwgXKPH/DDw=
-----END RSA PRIVATE KEY-----
"""
CURVE_KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
LOCKED_KEY = load_pem_private_key(new_key(Algorithm.ED25519), None).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
)
BAD_KEYS = {
    "nothing": b"",
    "no PEM": b"v=DKIM1; k=rsa; p=AAAA",
    "half a key": new_key(Algorithm.RSA)[:200],
    "with a password": LOCKED_KEY,
    "too weak": WEAK_KEY,
    "of another kind": CURVE_KEY,
}


@pytest.mark.parametrize("pem", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_that_cannot_sign_is_refused(pem: bytes) -> None:
    with pytest.raises(CannotSign):
        Signer(DOMAIN, "s1", pem)


BAD_DOMAINS = ["", "acme", "acme..example", ".acme.example", "acme.example.", "-acme.example", "a_b.example", "é.example",
               "acme.example\r\nBcc: x@shop.example", "acme.example; x=1", "acme.example\n", "a" * 64 + ".example",
               "a." * 130 + "example", "ACME .example", "acme.example\N{KELVIN SIGN}"]  # fmt: skip


@pytest.mark.parametrize("domain", BAD_DOMAINS, ids=lambda text: ascii(text[:20]))
def test_what_is_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(CannotSign, match="is no domain"):
        Signer(domain, "s1", new_key(Algorithm.ED25519))


@pytest.mark.parametrize("selector", ["", "a b", "a;b", "a\r\nb", "é", "-a", "a.", ".a", "a..b", "x" * 64, "s1\n"])
def test_what_is_no_selector_is_refused(selector: str) -> None:
    with pytest.raises(CannotSign, match="is no selector"):
        Signer(DOMAIN, selector, new_key(Algorithm.ED25519))


def test_names_are_signed_in_small_letters() -> None:
    signer = Signer("ACME.Example", "E2026", new_key(Algorithm.ED25519))
    assert b" d=acme.example; s=e2026;" in signer.sign(HEADERS, BODY, AT)


# -- DNS --


def test_the_example_key_is_published_as_the_standard_has_it() -> None:
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(PRIVATE_KEY_OF_RFC_8463))
    record = dns_records("football.example.com", "brisbane", key.public_key())[0]
    assert record.name == "brisbane._domainkey.football.example.com"
    assert record.type == "TXT"
    assert record.value == f"v=DKIM1; k=ed25519; p={PUBLIC_KEY_OF_RFC_8463}"
    assert record.zone_line == f'{record.name}. IN TXT "{record.value}"'


def test_a_long_key_is_cut_into_strings_that_dns_can_carry() -> None:
    record = dns_records(DOMAIN, "r2026", RSA.public_key)[0]
    assert record.value.startswith("v=DKIM1; k=rsa; p=MII")
    assert [len(string) for string in record.strings] == [255, len(record.value) - 255]
    assert "".join(record.strings) == record.value
    assert record.zone_line == f'{record.name}. IN TXT "{record.value[:255]}" "{record.value[255:]}"'


def spf(there: str, *carriers: str) -> Record:
    found = dns_records(DOMAIN, "s1", ED25519.public_key, carriers=carriers, spf=there)[1]
    assert (found.name, found.type) == (DOMAIN, "TXT")
    return found


RELAY = "include:spf.relay.example"
SPF = [
    ("", [RELAY], f"v=spf1 {RELAY} ?all"),
    ("", ["ip4:203.0.113.9", RELAY], f"v=spf1 ip4:203.0.113.9 {RELAY} ?all"),
    ("google-site-verification=1", [RELAY], f"v=spf1 {RELAY} ?all"),
    ("v=spf10 -all", [RELAY], f"v=spf1 {RELAY} ?all"),
    ("v=spf1 -all", [RELAY], f"v=spf1 {RELAY} -all"),
    ("v=spf1 a mx ~all", [RELAY], f"v=spf1 a mx {RELAY} ~all"),
    ("V=SPF1 mx ALL", [RELAY], f"V=SPF1 mx {RELAY} ALL"),
    ("v=spf1 mx", [RELAY], f"v=spf1 mx {RELAY}"),
    ("v=spf1", [RELAY], f"v=spf1 {RELAY}"),
    ("v=spf1 mx redirect=spf.acme.example", [RELAY], f"v=spf1 mx {RELAY} redirect=spf.acme.example"),
    ("v=spf1 include:all.example exp=e.example", [RELAY], f"v=spf1 include:all.example {RELAY} exp=e.example"),
    ("v=spf1 INCLUDE:spf.relay.example ~all", [RELAY], "v=spf1 INCLUDE:spf.relay.example ~all"),
    ("v=spf1 mx ~all", ["mx", RELAY], f"v=spf1 mx {RELAY} ~all"),
]


@pytest.mark.parametrize(("there", "carriers", "value"), SPF)
def test_spf_is_added_to_and_nothing_is_taken_away(there: str, carriers: list[str], value: str) -> None:
    assert spf(there, *carriers).value == value


def test_advice_fits_what_is_there() -> None:
    assert "put its middle terms into that one" in spf("", RELAY).advice
    assert f"adds {RELAY}" in spf("v=spf1 mx ~all", RELAY).advice
    assert "Leave this record as it is" in spf(f"v=spf1 {RELAY} ~all", RELAY).advice


def test_without_a_carrier_there_is_nothing_to_add_to_spf() -> None:
    assert [record.name for record in dns_records(DOMAIN, "s1", ED25519.public_key)] == [
        f"s1._domainkey.{DOMAIN}",
        f"_dmarc.{DOMAIN}",
    ]


DMARC = {"": "v=DMARC1; p=none", "spf": "v=DMARC1; p=none", "v=DMARC1; p=reject": "v=DMARC1; p=reject"}


@pytest.mark.parametrize(("there", "value"), DMARC.items())
def test_a_dmarc_policy_that_is_there_stays(there: str, value: str) -> None:
    record = dns_records(DOMAIN, "s1", ED25519.public_key, dmarc=there)[-1]
    assert record.name == f"_dmarc.{DOMAIN}"
    assert record.value == value
    assert record.advice.startswith("Leave" if there == value else "Add")
