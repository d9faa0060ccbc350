"""What servers say, and what it means for the message, the address and the server."""

import pytest

from cartwheel.bounces.reports import Kind, weigh
from cartwheel.mail.replies import Fate, Phase, Reply, broken_off, classify

MAIL, RCPT, DATA, DOT = Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT
ACCEPTED, LATER, NEVER, TROUBLE = Fate.ACCEPTED, Fate.LATER, Fate.NEVER, Fate.SERVER_TROUBLE
OWNER = Fate.FOR_AN_OWNER

HARD, QUOTA, SUSPECT = "nobody is there", "enough for hours", "perhaps the server"

SAID: list[tuple[Phase, str, Fate, str]] = [
    (DOT, "250 2.0.0 Ok: queued as 4ZkQ1x2Yz", ACCEPTED, ""),
    (DOT, "250 OK id=1tXyZ-0001-AB", ACCEPTED, ""),
    (DOT, "251 forwarded", ACCEPTED, ""),
    (DOT, "250 your daily limit is 10000 messages", ACCEPTED, ""),
    # not this time
    (RCPT, "450 4.2.0 <ada@shop.example>: Recipient address rejected: Greylisted", LATER, ""),
    (RCPT, "450 greylisted, try again in 300 seconds", LATER, ""),
    (RCPT, "451 4.7.1 Greylisting in action, please come back later", LATER, ""),
    (RCPT, "452 4.2.2 The email account that you tried to reach is over quota", LATER, ""),
    (RCPT, "452 4.2.2 mailbox has too many messages", LATER, ""),
    (RCPT, "452 4.5.3 Too many recipients", LATER, ""),
    (RCPT, "452 4.3.1 Insufficient system storage", LATER, ""),
    (RCPT, "450 4.2.1 The user you are trying to contact is receiving mail too quickly", LATER, ""),
    (DOT, "451 4.3.0 Temporary lookup failure", LATER, ""),
    (DOT, "421 4.7.0 Try again later, closing connection", LATER, ""),
    (MAIL, "421 4.4.2 mail.example Error: timeout exceeded", LATER, ""),
    (DATA, "250 2.0.0 what?", LATER, ""),
    (RCPT, "452 4.2.2 mailbox over quota, daily limit", LATER, ""),
    (RCPT, "450 4.1.1 throttled: too many messages to an unknown user", LATER, ""),
    (DOT, "452 4.2.2 mailbox over quota, daily limit", LATER, ""),
    # not this time, and perhaps not for others either
    (RCPT, "450 4.7.1 <ada@shop.example>: hourly limit exceeded for this user", LATER, SUSPECT),
    (RCPT, "554 5.7.1 <ada@shop.example>: Relay access denied", LATER, SUSPECT),
    (RCPT, "550 relay not permitted", LATER, SUSPECT),
    (RCPT, "530 5.7.57 Client not authenticated to send mail", LATER, SUSPECT),
    (RCPT, "550 5.4.5 Daily user sending limit exceeded.", LATER, SUSPECT),
    (RCPT, "450 4.2.1 Peak SMTP relay limit exceeded for customer.", LATER, SUSPECT),
    (RCPT, "550 You have exceeded the limit of 500 messages per hour", LATER, SUSPECT),
    (RCPT, "450 4.7.1 Error: too much mail from 192.0.2.1", LATER, SUSPECT),
    (RCPT, "550 Please turn on SMTP Authentication in your mail client", LATER, SUSPECT),
    (RCPT, "550 ada@shop.example is not permitted to relay through this server", LATER, SUSPECT),
    (RCPT, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", LATER, SUSPECT),
    (RCPT, "550 Rate limit reached for this connection", LATER, SUSPECT),
    (RCPT, "550 Greylisted, please come back in 300 seconds", LATER, ""),
    # never, because there is nobody
    (
        RCPT,
        "550 5.1.1 <ada@shop.example>: Recipient address rejected: User unknown in local recipient table",
        NEVER,
        HARD,
    ),
    (RCPT, "550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 Check it.", NEVER, HARD),
    (RCPT, "550 No such user here", NEVER, HARD),
    (RCPT, "550 5.4.1 Recipient address rejected: Access denied.", NEVER, HARD),
    (RCPT, "550 5.5.0 Requested action not taken: mailbox unavailable", NEVER, HARD),
    (RCPT, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", NEVER, HARD),
    (RCPT, "550 5.2.1 The email account that you tried to reach is disabled.", NEVER, HARD),
    (RCPT, "551 User not local; please try <ada@elsewhere.example>", NEVER, HARD),
    (RCPT, "550 Unknown local part ada in <ada@shop.example>", NEVER, HARD),
    (RCPT, "550 the account of ada has been closed", NEVER, HARD),
    (RCPT, "553 sorry, that is no mailbox", NEVER, HARD),
    (RCPT, "556 5.1.10 the domain takes no mail", NEVER, HARD),
    (DOT, "554 delivery error: dd This user doesn't have a shop.example account", NEVER, HARD),
    (DOT, "550 5.1.1 unknown user", NEVER, HARD),
    # never, for another reason
    (RCPT, "550 5.7.1 Service unavailable; client host blocked using an RBL", NEVER, ""),
    (RCPT, "550 5.7.1 The sender's domain does not exist", NEVER, ""),
    (RCPT, "550 blocked, see our policy", NEVER, ""),
    (RCPT, "554 5.7.1 <ada@shop.example>: Recipient address rejected: Access denied", NEVER, ""),
    (RCPT, "552 5.2.2 The email account that you tried to reach is over quota", NEVER, ""),
    (RCPT, "552 5.2.2 user exceeded the daily message limit", NEVER, ""),
    (RCPT, "550 5.1.8 relaying denied", NEVER, ""),
    (RCPT, "552 mailbox is full", NEVER, ""),
    (RCPT, "550 5.2.1 The user is receiving mail at a rate that prevents additional messages", NEVER, ""),
    (RCPT, "550 5.1.8 Sender address rejected: Domain not found", NEVER, ""),
    (DOT, "552 5.3.4 Message size exceeds fixed limit", NEVER, ""),
    (DOT, "554 5.6.0 no such thing as this message", NEVER, ""),
    (DOT, "550 5.7.26 This mail has been blocked because the sender is unauthenticated", NEVER, ""),
    (
        DOT,
        "550-5.7.1 Unauthenticated email from acme.example is not accepted due to\n550 5.7.1 its DMARC policy",
        NEVER,
        "",
    ),
    (DOT, "550 no", NEVER, ""),
    (MAIL, "552 5.3.4 Message size exceeds fixed limit", NEVER, ""),
    (RCPT, "550 5.7.1 Mail from 192.0.2.1 is not allowed here", NEVER, ""),
    (RCPT, "550 5.7.1 You are not allowed to send to this group", NEVER, ""),
    # never from this sender, until an owner has seen to it
    (MAIL, "550 5.1.1 no such sender", OWNER, ""),
    (MAIL, "553 5.7.1 <hello@shop.example>: Sender address rejected: not owned by user relay", OWNER, ""),
    (RCPT, "553 5.7.1 <hello@shop.example>: Sender address rejected: not owned by user relay", OWNER, ""),
    (RCPT, "553 5.7.1 <hello@shop.example>: Sender address rejected: not logged in", OWNER, ""),
    (MAIL, "553 Relaying disallowed as hello@shop.example", OWNER, ""),
    (MAIL, "501 5.1.7 Bad sender address syntax", OWNER, ""),
    (DATA, "550 The from address does not match a verified Sender Identity.", OWNER, ""),
    (DOT, "554 Message rejected: Email address is not verified.", OWNER, ""),
    (DOT, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", OWNER, ""),
    (DOT, "554 5.2.252 SendAsDenied; relay@shop.example not allowed to send as hello@shop.example", OWNER, ""),
    (DOT, "551 5.7.1 Not authorised to send from this header address", OWNER, ""),
    (DOT, "550 Requested action not taken: Sender address is not allowed.", OWNER, ""),
    # the server's own affairs
    (MAIL, "452 4.3.1 Insufficient system storage", TROUBLE, ""),
    (MAIL, "530 5.7.0 Must issue a STARTTLS command first", TROUBLE, ""),
    (MAIL, "530 5.7.57 Client not authenticated to send mail", TROUBLE, ""),
    (MAIL, "550 5.7.1 Authentication required", TROUBLE, ""),
    (MAIL, "450 4.7.1 Error: too much mail from 192.0.2.1", TROUBLE, ""),
    (DOT, "454 Throttling failure: Maximum sending rate exceeded.", TROUBLE, ""),
    (DOT, "454 Throttling failure: Daily message quota exceeded.", TROUBLE, QUOTA),
    (DOT, "550-5.4.5 Daily SMTP relay sending\n550 5.4.5 limit exceeded for user.", TROUBLE, QUOTA),
    (DOT, "450 4.2.1 Peak SMTP relay limit exceeded for customer.", TROUBLE, QUOTA),
    (DOT, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", TROUBLE, QUOTA),
    (MAIL, "550 You have exceeded the limit of 500 messages per hour", TROUBLE, QUOTA),
    (Phase.GREETING, "421 4.7.0 hourly limit exceeded", TROUBLE, QUOTA),
    (Phase.AUTH, "451 Authentication failed: Maximum credits exceeded", TROUBLE, QUOTA),
    (Phase.AUTH, "535 5.7.8 Error: authentication failed", TROUBLE, ""),
    (Phase.GREETING, "421 4.3.2 Too many concurrent connections", TROUBLE, ""),
    (Phase.GREETING, "554 5.7.1 No SMTP service here", TROUBLE, ""),
    (Phase.STARTTLS, "454 4.7.0 TLS not available due to local problem", TROUBLE, ""),
]


def read(said: str) -> Reply:
    lines = said.split("\n")
    return Reply(int(said[:3]), "\n".join(line[4:] for line in lines))


@pytest.mark.parametrize(("phase", "said", "fate", "how"), SAID, ids=lambda value: str(value)[:40])
def test_what_servers_say_is_understood(phase: Phase, said: str, fate: Fate, how: str) -> None:
    outcome = classify(phase, read(said))
    assert (outcome.fate, outcome.hard, outcome.quota) == (fate, how == HARD, how == QUOTA)
    assert outcome.suspect == (how == SUSPECT)
    assert (outcome.phase, outcome.code) == (phase, int(said[:3]))


ABOUT_US = [
    "550 Sender verify failed",
    "550-Verification failed for <hello@acme.example>\n550-Response: 550 User unknown\n550 Sender verify failed",
    "550-Callback setup failed while verifying <hello@acme.example>\n550 The initial connection was refused.",
    "550 5.1.0 <hello@acme.example>: Sender address rejected: User unknown in virtual mailbox table",
    "550 <hello@acme.example>: Sender address rejected: Domain not found",
    "550 5.1.0 sender rejected",
    "550 Sender <hello@acme.example> is not accepted here",
    "553 5.0.0 Domain of sender address hello@acme.example does not exist",
    "550 Sender domain does not exist",
    "550 Invalid sender",
    "553 sorry, your envelope sender is in my badmailfrom list",
    "553 sorry, your mail was administratively denied",
    "553 Mail from must equal authorized user",
    "550 Administrative prohibition",
    "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
    "550 The sending IP has no reverse DNS",
    "550 No RDNS entry for 192.0.2.1: unknown address",
    "550 Bad DNS PTR resource record, host not found",
    "550 Client host rejected: cannot find your hostname",
    "550 Your host is not allowed to send mail here",
    "550 Your IP 192.0.2.1 has been refused",
    "550 IP address 192.0.2.1 not listed as a sender of this domain",
    "550 We do not accept mail from dynamic IPs",
    "550 country not accepted",
    "550 Too many invalid recipients",
    "550 Ip frequency limited",
    "550 The from address does not match a verified Sender Identity, which does not exist",
    "550 this server requires authentication",
    "550 Relaying disallowed as hello@acme.example",
]
"""What Exim, Postfix, Sendmail, qmail and the large providers say at a recipient of whoever sends."""


@pytest.mark.parametrize("said", ABOUT_US)
def test_what_a_server_says_of_us_says_nothing_against_the_address(said: str) -> None:
    outcome = classify(RCPT, read(said))
    assert (outcome.hard, outcome.soft) == (False, False)
    assert weigh("5.1.1", said) is Kind.BLOCKED, "a report weighs it like a reply"


NOT_ENOUGH = [
    "550 no",
    "551 not local",
    "553 go away",
    "550 5.5.0 service refused",
    "552 5.2.2 over quota",
    "550 5.1.0 no",
]


@pytest.mark.parametrize("said", NOT_ENOUGH)
def test_a_bare_refusal_of_a_recipient_condemns_its_address_only_with_others(said: str) -> None:
    outcome = classify(RCPT, read(said))
    assert (outcome.fate, outcome.hard, outcome.soft) == (NEVER, False, True)


@pytest.mark.parametrize(
    ("phase", "said", "soft"),
    [
        (DOT, "550 no", False),
        (MAIL, "550 no", False),
        (RCPT, "450 4.2.0 try again", True),
        (RCPT, "450 4.7.1 Client host rejected: cannot find your hostname", False),
        (RCPT, "554 5.7.1 Relay access denied", False),
    ],
)
def test_what_counts_against_an_address(phase: Phase, said: str, *, soft: bool) -> None:
    outcome = classify(phase, read(said))
    assert (outcome.hard, outcome.soft) == (False, soft)


def test_several_lines_are_read_as_one_sentence() -> None:
    outcome = classify(RCPT, read("550-5.1.1 The account\n550-5.1.1 does not exist.\n550 5.1.1 Check it."))
    assert outcome.text == "5.1.1 The account does not exist. Check it."
    assert outcome.enhanced == "5.1.1"


@pytest.mark.parametrize("phase", Phase)
def test_only_the_answer_to_the_final_dot_accepts_or_leaves_doubt(phase: Phase) -> None:
    for code in range(200, 600):
        outcome = classify(phase, Reply(code, "something"))
        assert (outcome.fate is ACCEPTED) == (phase is DOT and code < 300)
        assert (outcome.fate is Fate.IN_DOUBT) == (phase is DOT and 300 <= code < 400)
        assert not (outcome.hard and outcome.fate is not NEVER)


@pytest.mark.parametrize("phase", Phase)
def test_a_broken_line_leaves_doubt_only_after_the_final_dot(phase: Phase) -> None:
    outcome = broken_off(phase, "the connection was lost")
    opening = {Phase.CONNECT, Phase.GREETING, Phase.HELLO, Phase.STARTTLS, Phase.AUTH}
    expected = Fate.IN_DOUBT if phase is DOT else TROUBLE if phase in opening else LATER
    assert (outcome.fate, outcome.text) == (expected, f"at {phase}: the connection was lost")
