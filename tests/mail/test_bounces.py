"""What comes back by mail is read for what it is: a failure, a complaint, or nothing to worry about."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.bounces.mailparts import MOST_BYTES, Mail
from cartwheel.bounces.reading import _read, read_report
from cartwheel.bounces.reports import LONGEST_DIAGNOSTIC, STATUS, Kind, Report, find_status, one_line, weigh

SAMPLES = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "reports").glob("*.eml"))}
MESSAGE_ID = "c1.7.3f9a2b@mail.shop.example"
VERP = "bounce+x7Kq2@mail.shop.example"
ADA = "ada@people.example"
FAILURES = {Kind.HARD, Kind.SOFT, Kind.BLOCKED, Kind.COMPLAINT}
LONGEST_S = 1.0
"""More processor time than any mail may take."""

quick = settings(max_examples=200, derandomize=True, deadline=None, database=None)

EXPECTED: dict[str, tuple[Kind, str, str, str] | None] = {
    "postfix-unknown-user": (Kind.HARD, ADA, "5.1.1", "Recipient address rejected: User unknown in virtual mailbox"),
    "postfix-mailbox-full": (Kind.SOFT, ADA, "5.2.2", "Mailbox size limit exceeded"),
    "postfix-expired": (Kind.SOFT, ADA, "4.4.1", "Connection timed out"),
    "postfix-no-such-domain": (Kind.HARD, "ada@peeple.example", "5.4.4", "Host or domain name not found"),
    "postfix-blocked": (Kind.BLOCKED, ADA, "5.7.1", "blocked using zen.spamhaus.org"),
    "postfix-delayed": (Kind.NOTICE, ADA, "4.4.1", "Connection timed out"),
    "postfix-delivered": (Kind.NOTICE, ADA, "", "250 2.0.0 Ok"),
    "gmail-unknown-user": (Kind.HARD, "ada@gmail.example", "5.1.1", "550-5.1.1 The email account that you tried"),
    "gmail-too-quickly": (Kind.SOFT, "ada@gmail.example", "5.2.1", "receiving mail at a rate"),
    "gmail-unauthenticated": (Kind.BLOCKED, "ada@gmail.example", "5.7.26", "the sender is unauthenticated"),
    "exchange-online-unknown-user": (Kind.HARD, "ada@firm.example", "5.1.10", "RecipientNotFound"),
    "exchange-online-access-denied": (Kind.HARD, "ada@firm.example", "5.4.1", "Access denied"),
    "exchange-online-not-allowed": (Kind.BLOCKED, "ada@firm.example", "5.7.133", "SenderNotAuthenticatedForGroup"),
    "exchange-2003-plain": (Kind.HARD, "ada@firm.example", "5.1.1", "The e-mail account does not exist at the organiz"),
    "exim-unknown-user": (Kind.HARD, ADA, "5.1.1", "550 5.1.1 <ada@people.example>... No such user here"),
    "exim-old-unknown-user": (Kind.HARD, ADA, "5.0.0", "550 No such user here"),
    "exim-delayed": (Kind.NOTICE, ADA, "", ""),
    "qmail-unknown-user": (Kind.HARD, ADA, "5.1.1", "Remote host said: 550 5.1.1"),
    "qmail-no-mailbox": (Kind.HARD, ADA, "5.1.1", "Sorry, no mailbox here by that name. vpopmail (#5.1.1)"),
    "qmail-expired": (Kind.SOFT, ADA, "4.4.3", "CNAME lookup failed temporarily. (#4.4.3) I'm not going to try"),
    "sendmail-unknown-user": (Kind.HARD, ADA, "5.1.1", "550 5.1.1 <ada@people.example>... User unknown"),
    "domino-not-listed": (Kind.HARD, "ada@firm.example", "", "User ada (ada@firm.example) not listed in Domino"),
    "plain-undelivered": (Kind.HARD, ADA, "5.0.0", "said: 550 <ada@people.example>: User unknown"),
    "german-plain": (Kind.HARD, "ada@post.example", "5.0.0", "550 Empfänger: mailbox unavailable"),
    "smtputf8-unknown-user": (Kind.HARD, "jörg@people.example", "5.1.1", "<jörg@people.example>: User unknown"),
    "two-recipients": (Kind.HARD, "team@people.example", "5.2.1", "550 mailbox disabled"),
    "complaint": (Kind.COMPLAINT, ADA, "", "abuse"),
    "complaint-redacted": (Kind.COMPLAINT, "", "", "abuse"),
    "complaint-microsoft": (Kind.COMPLAINT, "ada@hotmail.example", "", ""),
    "complaint-withdrawn": (Kind.NOTICE, ADA, "", "not-spam"),
    "dmarc-failure": (Kind.NOTICE, ADA, "", "auth-failure"),
    "read-receipt": (Kind.NOTICE, "", "", ""),
    "away-exchange": (Kind.AUTO_REPLY, "", "", ""),
    "away-vacation": (Kind.AUTO_REPLY, "", "", ""),
    "away-german": (Kind.AUTO_REPLY, "", "", ""),
    "away-postmaster": (Kind.AUTO_REPLY, "", "", ""),
    "challenge": (Kind.AUTO_REPLY, "", "", ""),
    "person-answers": None,
    "person-forwards-a-bounce": None,
    "advertising": None,
}
"""What each sample says: kind, recipient, status, a piece of the diagnostic."""

WITHOUT_ID = {"exchange-2003-plain", "german-plain", "exim-delayed", "away-postmaster"}
"""Samples in which the message that they are about is not named."""


# -- what they say --


def test_every_sample_is_expected_to_say_something() -> None:
    assert EXPECTED.keys() == SAMPLES.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_report_is_read_for_what_it_says(name: str) -> None:
    report, expected = read_report(SAMPLES[name]), EXPECTED[name]
    assert (report is None) == (expected is None)
    if report is None or expected is None:
        return
    kind, recipient, status, piece = expected
    assert (report.kind, report.recipient, report.status) == (kind, recipient, status)
    assert piece in report.diagnostic
    assert report.original_message_id == ("" if name in WITHOUT_ID else MESSAGE_ID)
    assert report.return_paths[0] == VERP
    assert report.at is not None
    assert report.at.date() in {datetime(2026, 3, 10, tzinfo=UTC).date(), datetime(2026, 3, 11, tzinfo=UTC).date()}


def test_the_time_of_a_report_is_when_it_was_written() -> None:
    report = read_report(SAMPLES["complaint-microsoft"])
    assert report is not None
    assert report.at == datetime(2026, 3, 10, 19, 40, tzinfo=UTC)


ON_THE_WAY: dict[str, Callable[[bytes], bytes]] = {
    "with the line ends of SMTP": lambda raw: raw.replace(b"\n", b"\r\n"),
    "out of a folder of the mbox kind": lambda raw: b"From MAILER-DAEMON Tue Mar 10 09:15:09 2026\n" + raw,
    "with spaces before it": lambda raw: b"\r\n\n" + raw,
    "through many servers": lambda raw: b"Received: from a by b; Tue, 10 Mar 2026 09:15:09 +0000\n" * 100 + raw,
    "with a large attachment behind": lambda raw: raw + b"\n" + b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\n" * 20_000,
}


@pytest.mark.parametrize("change", ON_THE_WAY.values(), ids=ON_THE_WAY)
@pytest.mark.parametrize("name", EXPECTED)
def test_the_way_that_a_report_took_does_not_change_what_it_says(name: str, change: Callable[[bytes], bytes]) -> None:
    assert read_report(change(SAMPLES[name])) == read_report(SAMPLES[name])


HARMLESS = [name for name, expected in EXPECTED.items() if expected is None or expected[0] not in FAILURES]


@pytest.mark.parametrize("name", HARMLESS)
def test_a_part_of_a_harmless_mail_is_harmless(name: str) -> None:
    """A mail that is cut off must not block an address, or pass for a complaint."""
    raw = SAMPLES[name]
    for length in range(0, len(raw), 5):
        part = read_report(raw[:length])
        assert part is None or part.kind not in FAILURES, raw[:length][-200:]


def test_a_report_in_a_part_of_its_own_counts_whatever_the_whole_is_called() -> None:
    raw = SAMPLES["postfix-unknown-user"].replace(b"multipart/report; report-type=delivery-status", b"multipart/mixed")
    assert read_report(raw) == read_report(SAMPLES["postfix-unknown-user"])


@pytest.mark.parametrize("name", ["qmail-unknown-user", "exim-old-unknown-user", "smtputf8-unknown-user"])
def test_a_server_may_call_itself_and_its_bounces_as_it_likes(name: str) -> None:
    raw = re.sub(
        rb"(?m)^(Return-[Pp]ath|From|Subject): .*", rb"\1: our post <post@relay.example>", SAMPLES[name], count=3
    )
    assert read_report(raw) == read_report(SAMPLES[name])


def test_a_bounce_that_names_several_strangers_names_nobody() -> None:
    raw = b"""\
From: MAILER-DAEMON@relay.host.example
To: bounce@mail.shop.example
Subject: Undelivered mail

Neither bob@people.example nor carol@people.example: 550 5.1.1 user unknown
"""
    report = read_report(raw)
    assert report is not None
    assert (report.kind, report.recipient) == (Kind.HARD, "")


def test_a_bounce_may_name_its_sender_and_whom_to_ask_beside_the_recipient() -> None:
    raw = b"""\
From: MAILER-DAEMON@relay.host.example
To: Bounce@mail.shop.example
Subject: Undelivered mail

Mail from bounce@mail.shop.example to ada@people.example failed: 550 5.1.1 user unknown
Ask postmaster@relay.host.example.
"""
    report = read_report(raw)
    assert report is not None
    assert report.recipient == ADA


def test_a_bounce_that_says_nothing_more_is_soft() -> None:
    raw = b"From: MAILER-DAEMON@relay.host.example\nTo: a@mail.shop.example\nSubject: failure notice\n\nSorry.\n"
    report = read_report(raw)
    assert report is not None
    assert (report.kind, report.status, report.diagnostic) == (Kind.SOFT, "", "")


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded", "unheard-of", ""])
def test_only_a_failure_is_a_bounce(action: str) -> None:
    raw = SAMPLES["postfix-expired"].replace(b"Action: failed", f"Action: {action}".encode())
    report = read_report(raw)
    assert report is not None
    assert report.kind is Kind.NOTICE


@pytest.mark.parametrize("charset", ["utf-16", "idna", "punycode", "zlib", "\udcff", "", "utf-8", "latin-1", "x" * 999])
def test_a_wrong_charset_does_no_harm(charset: str) -> None:
    raw = SAMPLES["german-plain"].replace(b"iso-8859-1\nContent-T", charset.encode("utf-8", "replace") + b"\nContent-T")
    report = read_report(raw)
    assert report is not None
    assert (report.kind, report.recipient) == (Kind.HARD, "ada@post.example")


# -- how bad it is --

WEIGHTS = [
    ("5.1.1", "", Kind.HARD),
    ("5.1.1", "550 5.1.1 User unknown", Kind.HARD),
    ("5.1.1", "user unknown, see https://spam.example/blocked", Kind.HARD),
    ("5.1.2", "bad destination system", Kind.HARD),
    ("5.1.10", "", Kind.HARD),
    ("5.1.1", "rejected: listed at zen.spamhaus.org", Kind.BLOCKED),
    ("5.1.0", "Address rejected", Kind.SOFT),
    ("5.1.0", "No such user", Kind.HARD),
    ("5.1.8", "Sender address rejected: Domain not found", Kind.BLOCKED),
    ("5.2.0", "", Kind.SOFT),
    ("5.2.1", "mailbox disabled", Kind.HARD),
    ("5.2.2", "user unknown", Kind.SOFT),
    ("5.2.3", "too long", Kind.BLOCKED),
    ("5.3.4", "", Kind.BLOCKED),
    ("5.4.1", "no answer from host", Kind.SOFT),
    ("5.4.14", "hop count exceeded", Kind.SOFT),
    ("5.4.310", "DNS domain does not exist", Kind.HARD),
    ("5.5.0", "550 Requested action not taken: mailbox unavailable", Kind.HARD),
    ("5.5.4", "", Kind.SOFT),
    ("5.6.0", "", Kind.BLOCKED),
    ("5.7.1", "user unknown", Kind.BLOCKED),
    ("5.7.26", "", Kind.BLOCKED),
    ("5.7.17", "", Kind.HARD),
    ("4.1.1", "user unknown", Kind.SOFT),
    ("4.4.7", "message expired", Kind.SOFT),
    ("4.7.1", "greylisted", Kind.BLOCKED),
    ("5.0.0", "552 over quota", Kind.SOFT),
    ("5.0.0", "554 delivery error: This user doesn't have a yahoo.example account", Kind.HARD),
    ("5.0.0", "550 Requested action not taken: mailbox unavailable. Reject due to policy restrictions", Kind.BLOCKED),
    ("5.0.0", "554 whatever", Kind.SOFT),
    ("", "", Kind.SOFT),
    ("", "Unrouteable address", Kind.HARD),
    ("9.9.9", "", Kind.SOFT),
    ("nonsense", "", Kind.SOFT),
]


@pytest.mark.parametrize(("status", "words", "kind"), WEIGHTS)
def test_a_failure_weighs_what_its_status_and_its_words_say(status: str, words: str, kind: Kind) -> None:
    assert weigh(status, words) is kind


@quick
@given(status=st.from_regex(r"4\.\d{1,3}\.\d{1,3}", fullmatch=True), words=st.text())
def test_what_is_temporary_never_blocks_an_address(status: str, words: str) -> None:
    assert weigh(status, words + " user unknown") in {Kind.SOFT, Kind.BLOCKED}


STATUSES = {
    "550 5.1.1 unknown": "5.1.1",
    "550-5.1.1 unknown": "5.1.1",
    "(#5.1.1)": "5.1.1",
    "it was 5.1.1.": "5.1.1",
    "smtp;550 5.7.606 Access denied": "5.7.606",
    "host 5.1.1.20 said no": "",
    "version 15.1.1 of it": "",
    "550 No such user": "5.0.0",
    "452-later": "4.0.0",
    "call 5501234": "",
    "250 2.0.0 Ok": "",
    "": "",
}


@pytest.mark.parametrize(("text", "status"), STATUSES.items())
def test_a_status_is_found_in_what_servers_say(text: str, status: str) -> None:
    assert find_status(text) == status


@quick
@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= LONGEST_DIAGNOSTIC
    assert line.isprintable()
    assert one_line(line) == line


# -- whatever comes --


def is_fit(report: Report | None) -> bool:
    """Whether every value of it can be stored, shown and logged."""
    if report is None:
        return True
    texts = [report.recipient, report.original_message_id, report.status, report.diagnostic, *report.return_paths]
    return (
        all(text.isprintable() and len(text) <= 1000 for text in texts)
        and len(report.return_paths) <= 10
        and (not report.status or STATUS.fullmatch(report.status) is not None)
        and (report.at is None or report.at.tzinfo is UTC)
    )


@settings(quick, max_examples=500)
@given(st.binary(max_size=2000))
def test_nonsense_is_no_report(raw: bytes) -> None:
    assert read_report(raw) is None


HEADS = st.sampled_from(
    [b"Date", b"To", b"Subject", b"From", b"Content-Type", b"Auto-Submitted", b"X-Failed-Recipients", b"In-Reply-To"]
)


@settings(quick, max_examples=400)
@given(st.lists(st.tuples(HEADS, st.binary(max_size=60)), max_size=8), st.binary(max_size=200))
def test_any_heads_are_read(fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    raw = b"".join(name + b": " + value.replace(b"\n", b"") + b"\n" for name, value in fields)
    assert is_fit(read_report(b"Auto-Submitted: auto-replied\n" + raw + b"\n" + body))


TOKENS = [
    *(b"\0", b"\xff\xfe", b"\r", b"\n\n", b"--b\n", b"<", b">", b":", b"(", b'"', b"\xc3\xa9", b";" * 50, b"9" * 5000),
    *(b"=?utf-8?B?A?=", b"=?x?q?=?=", b"=?idna?q?=C3?=", b'boundary="', b"; charset=idna", b'; charset="x-\xff"'),
    *(b"; boundary*0=a; boundary*99999999=b", b"Content-Type: message/rfc822\n\n", b"Content-Type: text/html\n"),
    *(b"Content-Transfer-Encoding: x-uuencode\n", b"Content-Transfer-Encoding: base64\n", b"Action: \xff\n"),
    *(b"Date: " + b"9" * 400 + b"\n", b"Date: Tue, 10 Mar 99999 09:15:09 +99999\n", b"Date: 31 Dec 9999 23:59 -1200\n"),
]


def mutants(count: int) -> Iterator[bytes]:
    """The samples, damaged: the same ones each time."""
    names = list(SAMPLES)
    for number in range(count):
        dice = Random(number)
        raw = SAMPLES[dice.choice(names)]
        for _ in range(dice.choice([1, 1, 2, 4, 8])):
            place = dice.randrange(len(raw) + 1)
            before, after = raw[:place], raw[place:]
            other = SAMPLES[dice.choice(names)]
            start = dice.randrange(len(other))
            raw = dice.choice(
                [
                    before + bytes([dice.randrange(256)]) + after[1:],
                    before + after[dice.choice([1, 5, 50, 500]) :],
                    before + dice.choice(TOKENS) + after,
                    before + other[start : start + dice.choice([20, 200, 2000])] + after,
                    before + after[: dice.choice([5, 80])] * dice.choice([2, 50]) + after,
                ]
            )
        yield raw


def test_damaged_reports_are_read_as_far_as_it_goes() -> None:
    """Nothing is raised even inside, but for mails that are nested without end."""
    kinds = set()
    for raw in mutants(1500):
        report = _read(Mail(raw))
        assert is_fit(report), report
        kinds.add(report.kind if report else None)
    assert kinds == {*Kind, None}


SERVER = b"From: MAILER-DAEMON@x.example\nTo: a@b.example\nSubject: Undelivered mail\n"
PARTS = SERVER + b"Content-Type: multipart/report; boundary=b\n\n"
BOMBS = {
    "levels": b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(5000)),
    "levels and lines": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(900))
    + b"x\n" * MOST_BYTES,
    "mails in mails": b"Content-Type: message/rfc822\n\n" * 20_000,
    "parts": PARTS + b"--b\n\n" * MOST_BYTES,
    "semicolons": SERVER + b'Content-Type: multipart/report; x="' + b";" * MOST_BYTES,
    "lines of semicolons": (b'Content-Type: multipart/report; x="' + b";" * 1900 + b"\n") * 140,
    "folds": SERVER + b'Content-Type: multipart/report; x="\n' + b" ;;;;;;;;;;;;;;;;;;;;\n" * MOST_BYTES,
    "parts of semicolons": PARTS + (b'--b\nContent-Type: text/plain; x="' + b";" * 1900 + b"\n\n") * 130,
    "groups": PARTS + b"--b\nContent-Type: message/delivery-status\n\n" + b"Action: x\n\n" * MOST_BYTES,
    "empty groups": PARTS + b"--b\nContent-Type: message/delivery-status\n" + b"\n" * MOST_BYTES,
    "fields": b"A: b\n" * MOST_BYTES,
    "places": SERVER + (b"Delivered-To: " + b"a@" * 900 + b"\n") * 200,
    "at signs": SERVER + b"\n" + b"@" * MOST_BYTES,
    "letters": SERVER + b"\n" + (b"a" * 1999 + b"\n") * 200,
    "dashes": SERVER + b"\n" + (b"-" * 1990 + b"\n") * 200,
    "words": SERVER + b"\n" + b"user x mailbox is size due to a " * 20_000,
    "quotes": SERVER + b"\n" + b"> " * MOST_BYTES,
    "tags": SERVER + b"Content-Type: text/html\n\n" + b"<style" * MOST_BYTES,
    "qmail": SERVER + b"\nHi. This is the \n" + b"<abc>:\nx\n" * MOST_BYTES,
    "digits": SERVER + b"\n" + b"5.1." * MOST_BYTES,
    "encoded words": SERVER.replace(b"Undelivered", b"=?utf-8?q?a?= " * 140) + b"\n",
    "a date of brackets": b"Auto-Submitted: auto-replied\nDate: " + b"(" * 1980 + b"\n\n",
    "uuencode": SERVER + b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n" + b"M" * MOST_BYTES,
    "a long domain": SERVER + b"Content-Type: text/plain; charset=idna\n\n" + b"a." * MOST_BYTES,
    "line ends": b"\r" * MOST_BYTES,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_mail_that_was_made_to_take_long_does_not(bomb: bytes) -> None:
    started = time.process_time()
    report = read_report(bomb)
    assert time.process_time() - started < LONGEST_S
    assert is_fit(report)
