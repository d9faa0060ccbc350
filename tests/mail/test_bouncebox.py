"""The mailbox for bounces is read to its end, and no mail is lost on the way, whatever breaks."""

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from imapserver import CHATTER, CLOSE, CLOSE_AFTER, HANG, SAY_NO, Fault, ImapServer

from cartwheel.bounces import boxurl
from cartwheel.bounces.bouncebox import BounceBox, BoxTrouble, Collected
from cartwheel.bounces.mailparts import MOST_BYTES
from cartwheel.bounces.reading import read_report
from cartwheel.bounces.reports import Kind
from cartwheel.errors import Overloaded, Unavailable

SOON_S = 0.1
"""How long a server may be silent that is silent for ever."""


def mails(count: int) -> list[bytes]:
    return [b"Subject: mail %d\r\n\r\n" % number for number in range(1, count + 1)]


class Desk:
    """Takes mails in, and refuses those that are named."""

    def __init__(self, refused: dict[bytes, Exception] | None = None) -> None:
        self.got: list[bytes] = []
        self.refused = refused or {}

    async def take(self, raw: bytes) -> None:
        if raw in self.refused:
            raise self.refused[raw]
        self.got.append(raw)


def box(server: ImapServer, options: str = "", *, scheme: str = "imap", host: str = "127.0.0.1") -> boxurl.Box:
    return boxurl.parse(f"{scheme}://user:pass@{host}:{server.port}/INBOX{options}")


def visit(server: ImapServer, desk: Desk, options: str = "", *, most: int = 500) -> Collected:
    """One visit of a mailbox of its own."""

    async def run() -> Collected:
        async with server:
            return await BounceBox(box(server, options), timeout_s=5).collect(desk.take, most=most)

    return asyncio.run(run())


class Identity:
    """A certificate for this machine, and the file in which it is trusted."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate = folder / "certificate.pem"
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        secret = folder / "key.pem"
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(self.certificate, secret)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(tmp_path_factory.mktemp("identity"))


# -- what is read --


def test_all_mails_are_handed_over_and_marked_as_seen() -> None:
    server, desk = ImapServer(mails(3)), Desk()
    assert visit(server, desk) == Collected(3, 0, more=False)
    assert desk.got == mails(3)
    assert [kept.flags for kept in server.folders["INBOX"]] == [{"\\Seen"}] * 3
    assert visit(server, Desk()) == Collected(0, 0, more=False)


def test_real_reports_arrive_as_they_were_sent() -> None:
    raws = [path.read_bytes() for path in sorted((Path(__file__).parent / "reports").glob("*.eml"))]
    kinds: list[Kind | None] = []

    class Reading(Desk):
        async def take(self, raw: bytes) -> None:
            report = read_report(raw)
            kinds.append(report.kind if report else None)
            await super().take(raw)

    desk = Reading()
    visit(ImapServer(raws), desk)
    assert desk.got == raws
    assert Kind.HARD in kinds


@pytest.mark.parametrize("options", ["", "?done=Processed"])
def test_an_empty_mailbox_is_no_trouble(options: str) -> None:
    assert visit(ImapServer(), Desk(), options) == Collected(0, 0, more=False)


def test_what_somebody_has_seen_is_read_only_if_it_goes_elsewhere_then() -> None:
    """Who looks into the mailbox must not make mails get lost that would have been moved."""
    for options, expected in (("", mails(4)[:1]), ("?done=Processed", mails(4)[:2])):
        server, desk = ImapServer(mails(4)), Desk()
        for kept, flags in zip(server.folders["INBOX"], [set(), {"\\Seen"}, {"\\Deleted"}, {"\\Deleted"}], strict=True):
            kept.flags = set(flags)
        visit(server, desk, options)
        assert desk.got == expected


@pytest.mark.parametrize("uid_last", [True, False])
def test_servers_may_name_a_mail_before_or_after_it(*, uid_last: bool) -> None:
    desk = Desk()
    odd = [b"", b") UID 7 {3}\r\n* 9 FETCH (", b"", b"Subject: x\r\n\r\n" + bytes(range(256))]
    visit(ImapServer(odd, uid_last=uid_last), desk)
    assert desk.got == odd


def test_a_mail_that_cannot_be_fetched_is_not_passed_over_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    server, desk = ImapServer(mails(3)), Desk()
    server.vanish_at_fetch = {2}
    assert visit(server, desk) == Collected(2, 1, more=False)
    assert "mails stay that could not be dealt with: [2]" in caplog.text


def test_a_huge_mail_is_cut_off() -> None:
    desk, raw = Desk(), b"x" * (MOST_BYTES + 1)
    visit(ImapServer([raw]), desk)
    assert desk.got == [raw[:MOST_BYTES]]


def test_mails_are_fetched_a_few_at_a_time() -> None:
    server, desk = ImapServer(mails(45)), Desk()
    visit(server, desk)
    assert desk.got == mails(45)
    assert server.names().count("UID FETCH") == server.names().count("UID STORE") == 3


def test_a_visit_has_an_end() -> None:
    server, desk = ImapServer(mails(45)), Desk()
    assert visit(server, desk, most=30) == Collected(30, 0, more=True)
    assert desk.got == mails(30)
    assert visit(server, desk, most=15) == Collected(15, 0, more=False)
    assert desk.got == mails(45)


def test_a_mailbox_that_nobody_ever_emptied_is_searched_in_pieces() -> None:
    """The library reads no line longer than a million bytes, and all the numbers would stand in one."""
    server, desk = ImapServer([b"old"] * 20_005), Desk()
    for kept in server.folders["INBOX"][:20_001]:
        kept.flags.add("\\Seen")
    assert visit(server, desk, most=3) == Collected(3, 0, more=True)
    assert [line for line in server.heard if "SEARCH" in line] == [
        "UID SEARCH 1:10000 UNSEEN UNDELETED",
        "UID SEARCH 10001:20000 UNSEEN UNDELETED",
        "UID SEARCH 20001:20005 UNSEEN UNDELETED",
    ]
    server.folders["INBOX"][0].flags.clear()
    server.heard.clear()
    visit(server, desk, most=0)
    assert [line for line in server.heard if "SEARCH" in line] == ["UID SEARCH 1:10000 UNSEEN UNDELETED"]


# -- where it goes then --

WAYS = {
    "IMAP4rev1 MOVE UIDPLUS": ["UID MOVE"],
    "IMAP4rev1 UIDPLUS": ["UID COPY", "UID STORE", "UID EXPUNGE"],
    "IMAP4rev1": ["UID COPY", "UID STORE"],
}


@pytest.mark.parametrize(("capabilities", "commands"), WAYS.items(), ids=WAYS)
@pytest.mark.parametrize("there", [True, False])
def test_what_has_been_read_moves(capabilities: str, commands: list[str], *, there: bool) -> None:
    server, desk = ImapServer(mails(3), after=capabilities), Desk()
    server.folders["INBOX"][1].flags.add("\\Deleted")  # by somebody else, and not our business
    if there:
        server.folders["Processed"] = []
    visit(server, desk, "?done=Processed")
    assert desk.got == server.raws("Processed") == [mails(3)[0], mails(3)[2]]
    assert mails(3)[1] in server.raws()
    assert server.raws(without="\\Deleted") == []
    begins = [] if there else [commands[0], "CREATE"]
    assert server.names()[-len(begins + commands) - 1 : -1] == begins + commands
    again = Desk()
    visit(server, again, "?done=Processed")
    assert again.got == []


def test_a_folder_may_have_any_name() -> None:
    server = ImapServer(mails(1))
    visit(server, Desk(), "?done=Erledigt%20%26%20gel%C3%B6scht%20%22%E5%8F%B0%22%5C")
    assert list(server.folders) == ["INBOX", 'Erledigt &- gel&APY-scht "&U,A-"\\']
    assert server.raws(list(server.folders)[1]) == mails(1)


# -- what goes wrong --


def test_a_mail_that_cannot_be_dealt_with_stays_and_comes_last(caplog: pytest.LogCaptureFixture) -> None:
    server = ImapServer(mails(3))

    async def run() -> None:
        async with server:
            reader = BounceBox(box(server), timeout_s=5)
            desk = Desk({mails(3)[0]: ValueError("no")})
            for _ in range(2):
                assert (await reader.collect(desk.take)).failed == 1
            assert caplog.text.count("mail 1 could not be dealt with") == 1
            assert server.raws(without="\\Seen") == mails(3)[:1]
            server.deliver(b"new 1", b"new 2")
            assert await reader.collect(desk.take, most=1) == Collected(1, 0, more=True)
            assert await reader.collect(desk.take, most=1) == Collected(1, 0, more=False)
            desk.refused.clear()
            assert await reader.collect(desk.take) == Collected(1, 0, more=False)
            assert desk.got == [*mails(3)[1:], b"new 1", b"new 2", mails(3)[0]]
            server.deliver(b"new 3")
            assert await reader.collect(desk.take) == Collected(1, 0, more=False)

    asyncio.run(run())


@pytest.mark.parametrize("trouble", [Unavailable, Overloaded])
def test_when_nothing_can_be_dealt_with_the_visit_ends(trouble: type[Exception]) -> None:
    server, desk = ImapServer(mails(5)), Desk({mails(5)[2]: trouble()})
    with pytest.raises(trouble):
        visit(server, desk)
    assert desk.got == mails(5)[:2]
    assert server.raws(without="\\Seen") == mails(5)[2:]


COMMANDS = ["GREETING", "CAPABILITY", "AUTHENTICATE", "SELECT", "UID SEARCH", "UID FETCH", "LOGOUT"]
MARKING = {
    ("IMAP4rev1", ""): [*COMMANDS, "UID STORE"],
    ("IMAP4rev1 MOVE", "?done=Processed"): ["UID MOVE", "CREATE"],
    ("IMAP4rev1 UIDPLUS", "?done=Processed"): ["UID COPY", "UID STORE", "UID EXPUNGE", "CREATE"],
}
BREAKS = [
    (capabilities, options, command, fault)
    for (capabilities, options), commands in MARKING.items()
    for command in commands
    for fault in (CLOSE, CLOSE_AFTER, HANG, SAY_NO)
    if not (fault == SAY_NO and command == "GREETING")
]


@pytest.mark.parametrize(("capabilities", "options", "command", "fault"), BREAKS)
def test_no_mail_is_lost_wherever_it_breaks(capabilities: str, options: str, command: str, fault: Fault) -> None:
    server, desk = ImapServer(mails(25), after=capabilities), Desk()
    server.faults[command] = fault

    async def run() -> None:
        async with server:
            timeout_s = SOON_S if fault == HANG else 5
            try:
                await BounceBox(box(server, options), timeout_s=timeout_s).collect(desk.take)
            except BoxTrouble as trouble:
                assert str(trouble).startswith(f"user@127.0.0.1:{server.port}/INBOX: ")  # noqa: PT017 - it may pass, too
            else:
                assert command in {"LOGOUT", "CREATE"}
            server.faults.clear()
            await BounceBox(box(server, options), timeout_s=5).collect(desk.take)

    asyncio.run(run())
    assert set(desk.got) == set(mails(25))
    assert server.raws(without="\\Seen") == []
    if options:
        assert set(server.raws("Processed")) == set(mails(25))


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(
    command=st.sampled_from([*COMMANDS, "UID STORE"]),
    said=st.binary(max_size=60)
    | st.sampled_from(
        [
            b"* SEARCH 1 x 2\r\n{tag} OK",
            b"* SEARCH 99999999999999999999\r\n{tag} OK",
            b"* x EXISTS\r\n{tag} OK",
            b"* CAPABILITY \xff\r\n{tag} OK",
            b"{tag} OK",
            b"{tag} BAD \xff",
            b"* 1 FETCH (UID 1 BODY[]<0> {-1}\r\n{tag} OK",
            b"* 1 FETCH (UID x BODY[]<0> {3}\r\nabc)\r\n{tag} OK",
            b"* 1 FETCH (UID 1 BODY[]<0> NIL)\r\n{tag} OK",
            b"* 1 FETCH\r\n{tag} OK",
            b"* BYE\r\n",
            b"+ \r\n{tag} OK",
        ]
    ),
)
def test_whatever_the_server_says_the_visit_ends(command: str, said: bytes) -> None:
    server = ImapServer(mails(2))
    server.faults[command] = said

    async def run() -> None:
        async with server:
            try:
                await BounceBox(box(server), timeout_s=SOON_S).collect(Desk().take)
            except BoxTrouble:
                return

    asyncio.run(run())


def test_a_server_that_sends_more_than_was_asked_for_is_not_listened_to() -> None:
    server, desk = ImapServer(mails(1)), Desk()
    server.faults["UID FETCH"] = b"* 1 FETCH (UID 1 BODY[]<0> {9999999999}\r\n"
    with pytest.raises(BoxTrouble, match="more than was asked for"):
        visit(server, desk)


def test_a_server_that_never_comes_to_the_point_is_not_listened_to_for_ever() -> None:
    server = ImapServer(mails(1))
    server.faults["UID SEARCH"] = CHATTER

    async def run() -> None:
        async with server:
            await BounceBox(box(server), timeout_s=SOON_S).collect(Desk().take)

    with pytest.raises(BoxTrouble, match=r"no answer for 0\.1 s"):
        asyncio.run(run())


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_a_visit_that_is_given_up_ends_at_once(identity: Identity, scheme: str) -> None:
    server = ImapServer(mails(1), tls=identity.context if scheme == "imaps" else None)
    server.faults["UID SEARCH"] = HANG

    async def run() -> None:
        async with server:
            hanging = BounceBox(box(server, "?verify=no", scheme=scheme), timeout_s=60)
            visiting = asyncio.create_task(hanging.collect(Desk().take))
            await server.hanging.wait()
            visiting.cancel()
            await asyncio.wait([visiting])
            assert visiting.cancelled()

    started = asyncio.run(_timed(run))
    assert started < 5


async def _timed(run: Callable[[], Awaitable[None]]) -> float:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await run()
    return loop.time() - started


# -- who may read it --

PASSWORDS = ['with "quotes" and \\', "with spaces", "%2F@:/?#", "pässwort"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("before", ["IMAP4rev1 AUTH=PLAIN", "IMAP4rev1"])
def test_a_password_may_have_any_characters_that_the_server_can_take(password: str, before: str) -> None:
    server = ImapServer(mails(1), before=before)
    server.user, server.password = "user name", password

    async def run() -> None:
        async with server:
            named = boxurl.parse(f"imap://user%20name:{quote(password, safe='')}@127.0.0.1:{server.port}")
            await BounceBox(named, timeout_s=5).collect(Desk().take)

    if before == "IMAP4rev1" and not password.isascii():
        with pytest.raises(BoxTrouble):
            asyncio.run(run())
    else:
        asyncio.run(run())
        assert server.raws(without="\\Seen") == []


def test_a_wrong_password_is_told_but_not_repeated() -> None:
    server = ImapServer(mails(1))
    server.password = "another"
    with pytest.raises(BoxTrouble, match=r"AUTHENTICATIONFAILED\] not user with \*\*\*") as trouble:
        visit(server, Desk())
    assert "pass" not in str(trouble.value)


def test_nobody_there_is_a_trouble() -> None:
    async def run() -> None:
        async with ImapServer() as server:
            nobody = box(server)
        await BounceBox(nobody, timeout_s=5).collect(Desk().take)

    with pytest.raises(BoxTrouble, match="refused"):
        asyncio.run(run())


def test_a_folder_that_is_not_there_is_a_trouble() -> None:
    server = ImapServer(mails(1))
    del server.folders["INBOX"]
    with pytest.raises(BoxTrouble, match="there is no such folder"):
        visit(server, Desk())


ELSEWHERE = "127.1"
"""This machine by a name that does not look like it."""


def visit_encrypted(server: ImapServer, scheme: str, host: str, options: str = "") -> Desk:
    desk = Desk()

    async def run() -> None:
        async with server:
            await BounceBox(box(server, options, scheme=scheme, host=host), timeout_s=5).collect(desk.take)

    asyncio.run(run())
    return desk


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_line_is_encrypted_from_the_start(identity: Identity, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(identity.certificate))
    assert visit_encrypted(ImapServer(mails(3), tls=identity.context), "imaps", host).got == mails(3)


def test_to_other_machines_the_line_is_encrypted_before_the_password_is_sent(identity: Identity) -> None:
    server = ImapServer(mails(3), before="IMAP4rev1 STARTTLS AUTH=PLAIN", starttls=identity.context)
    assert visit_encrypted(server, "imap", ELSEWHERE, "?verify=no").got == mails(3)
    assert server.names()[:2] == ["CAPABILITY", "STARTTLS"]


def test_without_encryption_no_password_is_sent(identity: Identity) -> None:
    server = ImapServer(mails(3))
    with pytest.raises(BoxTrouble, match="TLS not supported"):
        visit_encrypted(server, "imap", ELSEWHERE, "?verify=no")
    assert server.names() == ["CAPABILITY"]
    with pytest.raises(BoxTrouble):
        visit_encrypted(ImapServer(mails(3)), "imaps", "127.0.0.1", "?verify=no")
    refusing = ImapServer(mails(3), before="IMAP4rev1 STARTTLS AUTH=PLAIN", starttls=identity.context)
    refusing.faults["STARTTLS"] = SAY_NO
    with pytest.raises(BoxTrouble, match="TLS"):
        visit_encrypted(refusing, "imap", ELSEWHERE, "?verify=no")
    assert refusing.names() == ["CAPABILITY", "STARTTLS"]


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_a_strangers_certificate_is_not_trusted(identity: Identity, scheme: str) -> None:
    tls, starttls = (identity.context, None) if scheme == "imaps" else (None, identity.context)
    server = ImapServer(mails(3), before="IMAP4rev1 STARTTLS AUTH=PLAIN", tls=tls, starttls=starttls)
    with pytest.raises(BoxTrouble, match="certificate verify failed"):
        visit_encrypted(server, scheme, ELSEWHERE)
    assert "AUTHENTICATE" not in server.names()
