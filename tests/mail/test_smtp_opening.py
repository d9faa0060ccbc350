"""How a server is greeted: encryption, passwords, and what it offers decides what it is sent."""

import datetime as dt
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from posting import LETTER, pool_to, send_one
from sink import DROP, EXTENSIONS, STALL, Act, Sink

from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Fate, Phase

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


# -- encryption --


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody vouches for, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2120, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*form))
    return path


@pytest.fixture(scope="module")
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def _vouched_for(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.mark.usefixtures("_vouched_for")
async def test_what_is_offered_encrypted_is_sent_encrypted(tls: ssl.SSLContext) -> None:
    async with Sink(starttls=tls) as sink:
        url = sink.url().replace("127.0.0.1", "localhost")
        assert (await send_one(url))[0].fate is Fate.ACCEPTED
        assert [command.split()[0] for command in sink.commands[:4]] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


@pytest.mark.usefixtures("_vouched_for")
async def test_smtps_is_encrypted_from_the_start(tls: ssl.SSLContext) -> None:
    async with Sink(tls=tls) as sink:
        url = sink.url(scheme="smtps").replace("127.0.0.1", "localhost")
        assert (await send_one(url))[0].fate is Fate.ACCEPTED
        assert "STARTTLS" not in sink.commands


@pytest.mark.usefixtures("_vouched_for")
async def test_a_certificate_for_another_name_is_refused(tls: ssl.SSLContext) -> None:
    async with Sink(starttls=tls) as sink:
        outcome, _ = await send_one(sink.url())
        assert (outcome.fate, outcome.phase) == (Fate.SERVER_TROUBLE, Phase.STARTTLS)
        assert "certificate is not right" in outcome.text


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_that_nobody_vouches_for_is_taken_only_on_request(scheme: str, tls: ssl.SSLContext) -> None:
    how = {"starttls": tls} if scheme == "smtp" else {"tls": tls}
    async with Sink(**how) as sink:  # type: ignore[arg-type] # one of two keywords
        outcome, dots = await send_one(sink.url(scheme=scheme))
        assert (outcome.fate, dots) == (Fate.SERVER_TROUBLE, 0)
        assert "certificate is not right: self-signed certificate" in outcome.text
        assert (await send_one(sink.url(scheme=scheme, verify="no")))[0].fate is Fate.ACCEPTED


async def test_encryption_that_is_required_and_not_offered_is_trouble() -> None:
    async with Sink() as sink:
        outcome, _ = await send_one(sink.url(tls="required"))
        assert (outcome.fate, outcome.phase) == (Fate.SERVER_TROUBLE, Phase.STARTTLS)


async def test_encryption_can_be_switched_off(tls: ssl.SSLContext) -> None:
    async with Sink(starttls=tls) as sink:
        assert (await send_one(sink.url(tls="off")))[0].fate is Fate.ACCEPTED
        assert "STARTTLS" not in sink.commands


@pytest.mark.parametrize(
    "act",
    ["454 4.7.0 not now", "220 2.0.0 go on\r\n250 2.1.0 slipped in before the encryption", DROP, STALL],
    ids=lambda act: str(act)[:20],
)
async def test_encryption_that_fails_is_trouble(act: Act, tls: ssl.SSLContext) -> None:
    async with Sink({"starttls": [act]}, starttls=tls) as sink:
        outcome, _ = await send_one(sink.url(verify="no", command_timeout=0.3))
        assert (outcome.fate, outcome.phase) == (Fate.SERVER_TROUBLE, Phase.STARTTLS)
        assert not [command for command in sink.commands if command.startswith("MAIL")]


async def test_an_encrypted_line_that_breaks_leaves_the_same_doubts(tls: ssl.SSLContext) -> None:
    async with Sink(starttls=tls, mail=[DROP], dot=[DROP]) as sink:
        url = sink.url(verify="no")
        assert [(await send_one(url))[0].fate for _ in range(3)] == [Fate.LATER, Fate.IN_DOUBT, Fate.ACCEPTED]
        assert len(sink.messages) == 1


async def test_a_big_message_crosses_an_encrypted_line_to_a_slow_reader(tls: ssl.SSLContext) -> None:
    big = Outgoing("b@acme.example", "ada@shop.example", (b"x" * 78 + b"\r\n") * 50_000)
    async with Sink(starttls=tls, window=4096) as sink:
        assert (await send_one(sink.url(verify="no"), big))[0].fate is Fate.ACCEPTED
        assert sink.messages[0].data == big.data


# -- passwords --

ME = {"me@acme.example": "p@ss: wörd"}
CREDENTIALS = "me%40acme.example:p%40ss%3A%20w%C3%B6rd@"


@pytest.mark.parametrize("offer", ["AUTH PLAIN LOGIN", "AUTH LOGIN", "AUTH=LOGIN", "AUTH CRAM-MD5 PLAIN"])
async def test_who_has_a_password_logs_in(offer: str) -> None:
    async with Sink(users=ME, extensions=[*EXTENSIONS, offer]) as sink:
        assert (await send_one(sink.url(credentials=CREDENTIALS)))[0].fate is Fate.ACCEPTED
        [login] = [command for command in sink.commands if command.startswith("AUTH")]
        assert login.split()[1] == ("PLAIN" if "PLAIN" in offer else "LOGIN")


@pytest.mark.parametrize("offer", ["AUTH PLAIN", "AUTH LOGIN"])
async def test_a_wrong_password_is_the_servers_trouble_and_nobody_elses_to_see(offer: str) -> None:
    async with Sink(users=ME, extensions=[*EXTENSIONS, offer]) as sink:
        outcome, _ = await send_one(sink.url(credentials="me%40acme.example:secret@"))
        assert (outcome.fate, outcome.phase, outcome.code) == (Fate.SERVER_TROUBLE, Phase.AUTH, 535)
        assert "secret" not in repr(outcome)


async def test_a_way_to_log_in_that_is_not_known_is_trouble() -> None:
    async with Sink(extensions=[*EXTENSIONS, "AUTH GSSAPI"]) as sink:
        outcome, _ = await send_one(sink.url(credentials=CREDENTIALS))
        assert (outcome.fate, outcome.phase) == (Fate.SERVER_TROUBLE, Phase.AUTH)


# -- what a server offers --


async def test_the_name_to_greet_with_can_be_set() -> None:
    async with Sink() as sink:
        await send_one(sink.url(ehlo="mail.acme.example"))
        await send_one(sink.url())
        greetings = [command.split()[1] for command in sink.commands if command.startswith("EHLO")]
        assert greetings[0] == "mail.acme.example"
        assert "." in greetings[1]


async def test_an_old_server_gets_its_old_greeting() -> None:
    async with Sink(ehlo=["502 5.5.1 what?"], extensions=()) as sink:
        assert (await send_one(sink.url()))[0].fate is Fate.ACCEPTED
        assert sink.commands[1].startswith("HELO")
        assert sink.messages[0].mail == "FROM:<bounces@acme.example>"


def letter(to: str = "ada@shop.example", text: bytes = LETTER.data, sender: str = "b@acme.example") -> Outgoing:
    return Outgoing(sender, to, text)


EIGHT_BITS = "Subject: hello\r\n\r\nwörd\r\n".encode()
RAW_HEADER = "Subject: wörd\r\n\r\nhello\r\n".encode()


@pytest.mark.parametrize(
    ("message", "needs", "mail", "rcpt"),
    [
        (letter(), "", "FROM:<b@acme.example>", "TO:<ada@shop.example>"),
        (letter(to="ada@bücher.example"), "", "FROM:<b@acme.example>", "TO:<ada@xn--bcher-kva.example>"),
        (letter(to="ada@faß.example"), "", "FROM:<b@acme.example>", "TO:<ada@xn--fa-hia.example>"),
        (letter(text=EIGHT_BITS), "8BITMIME", "FROM:<b@acme.example> BODY=8BITMIME", "TO:<ada@shop.example>"),
        (letter(to="ädä@shop.example"), "SMTPUTF8", "FROM:<b@acme.example> SMTPUTF8", "TO:<ädä@shop.example>"),
        (letter(sender="bö@acme.example"), "SMTPUTF8", "FROM:<bö@acme.example> SMTPUTF8", "TO:<ada@shop.example>"),
        (
            letter(text=RAW_HEADER),
            "8BITMIME SMTPUTF8",
            "FROM:<b@acme.example> BODY=8BITMIME SMTPUTF8",
            "TO:<ada@shop.example>",
        ),
    ],
    ids=["plain", "other domain", "a domain that older rules spoil", "8-bit", "recipient", "sender", "header"],
)
async def test_what_a_message_needs_is_asked_of_the_server(message: Outgoing, needs: str, mail: str, rcpt: str) -> None:
    async with Sink(extensions=needs.split()) as sink:
        assert (await send_one(sink.url(), message))[0].fate is Fate.ACCEPTED
        assert (sink.messages[0].mail, sink.messages[0].rcpt) == (mail, rcpt)
    for missing in needs.split():
        async with Sink(extensions=[need for need in needs.split() if need != missing]) as sink:
            outcome, _ = await send_one(sink.url(), message)
            assert (outcome.fate, outcome.phase, outcome.hard) == (Fate.NEVER, Phase.CHECK, False)
            assert missing in outcome.text
            assert not [command for command in sink.commands if command.startswith("MAIL")]


@pytest.mark.parametrize(("offer", "fits"), [("SIZE 27", False), ("SIZE 28", True), ("SIZE 0", True), ("SIZE", True)])
async def test_a_message_that_is_too_big_is_not_sent(offer: str, fits: bool) -> None:  # noqa: FBT001
    async with Sink(extensions=[offer]) as sink:
        outcome, dots = await send_one(sink.url(), letter(text=LETTER.data[:-3] + b"\r\n"))
        assert (outcome.fate, dots) == ((Fate.ACCEPTED, 1) if fits else (Fate.NEVER, 0))
        assert len(sink.messages) == fits


BAD = {
    "a command in the address": letter(to="ada@shop.example>\r\nRCPT TO:<eve@shop.example"),
    "a line end in the sender": letter(sender="b@acme.example\n"),
    "a closing bracket": letter(to="ada@shop.example><eve@shop.example"),
    "no address": letter(to=""),
    "half a character": letter(to="ada\ud800@shop.example"),
    "a domain that cannot be": letter(to="ada@\u2488.example"),
    "a bare line feed": letter(text=b"Subject: hello\r\n\r\nend\n.\r\nMAIL FROM:<eve@shop.example>\r\n"),
    "a bare carriage return": letter(text=b"Subject: hello\r\n\r\nend\r.\r\nhello\r\n"),
    "a carriage return at the end": letter(text=b"hello\r"),
    "a line feed at the start": letter(text=b"\nhello\r\n"),
    "a doubled carriage return": letter(text=b"hello\r\r\n"),
    "a bare one after a dot": letter(text=b"hello\r\n.\r.\r\n"),
}


@pytest.mark.parametrize("message", BAD.values(), ids=BAD)
async def test_what_would_say_something_else_on_the_wire_is_not_sent(message: Outgoing) -> None:
    async with Sink() as sink:
        outcome, dots = await send_one(sink.url(), message)
        assert (outcome.fate, outcome.phase, dots) == (Fate.NEVER, Phase.CHECK, 0)
        assert outcome.hard == (message.to != "ada@shop.example")
        assert not [command for command in sink.commands if command.startswith(("MAIL", "RCPT"))]


async def test_a_message_that_is_not_sent_does_not_cost_the_connection() -> None:
    messages: Sequence[Outgoing] = [letter(), letter(to="ädä@shop.example"), letter()]
    async with Sink(extensions=()) as sink:
        async with pool_to(sink.url(connections=1)) as pool:
            fates = [(await pool.send(message)).fate for message in messages]
        assert (fates, sink.connections) == ([Fate.ACCEPTED, Fate.NEVER, Fate.ACCEPTED], 1)
