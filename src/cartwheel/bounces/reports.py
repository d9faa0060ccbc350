"""What is said about a message that was sent: it failed, and how badly; somebody complains. Pure.

Mails (`bounces`) and providers (`providers`) say it in their own ways; here are the words that they are translated to.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cartwheel.emails import EmailNotValid, read_email

LONGEST_DIAGNOSTIC = 300


class Kind(StrEnum):
    """What a report says; only the first four say it against an address or a message."""

    HARD = "hard"
    """The address does not work and will not."""

    SOFT = "soft"
    """It did not work this time: full, unreachable, or nobody knows why."""

    BLOCKED = "blocked"
    """The sender or the message is refused. It says nothing about the address."""

    COMPLAINT = "complaint"
    NOTICE = "notice"
    """Nothing has failed: late, handed on, delivered, read."""

    AUTO_REPLY = "auto-reply"
    """Somebody is away, or wants a proof that a person writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of one message to one address, as somebody says. Whatever is not known is empty."""

    kind: Kind
    recipient: str = ""
    """As addresses of leads are stored. Behind a forwarding it need not be the one that was written to."""

    original_message_id: str = ""
    """Without its angle brackets."""

    remote_id: str = ""
    """The name that a provider gave the message."""

    return_paths: tuple[str, ...] = ()
    """Where the report was sent, as it was written: one of them may be the address that was made for this message."""

    sender: str = ""
    """Whose message it was: an address, which somebody on the way may have replaced by one of the same domain."""

    status: str = ""
    """Like 5.1.1 (RFC 3463)."""

    diagnostic: str = ""
    at: datetime | None = None


# -- the weight of a failure --

_BY_STATUS: dict[str, Kind | None] = {
    "4": Kind.SOFT,
    "4.7": Kind.BLOCKED,
    "5": None,
    "5.1": Kind.HARD,
    "5.1.0": None,
    "5.1.4": Kind.SOFT,  # the address is ambiguous
    "5.1.5": None,  # the address is valid
    "5.1.7": Kind.BLOCKED,  # the sender's address is meant
    "5.1.8": Kind.BLOCKED,
    "5.1.9": Kind.SOFT,
    "5.2": Kind.SOFT,
    "5.2.1": Kind.HARD,  # the mailbox is disabled
    "5.2.3": Kind.BLOCKED,  # too large a message
    "5.3": Kind.SOFT,
    "5.3.0": None,
    "5.3.4": Kind.BLOCKED,
    "5.4": None,
    "5.4.4": Kind.HARD,  # the domain takes no mail
    "5.4.6": Kind.SOFT,  # a loop
    "5.4.7": Kind.SOFT,  # tried for too long
    "5.4.310": Kind.HARD,  # the domain does not exist
    "5.5": None,
    "5.6": Kind.BLOCKED,
    "5.7": Kind.BLOCKED,
    "5.7.17": Kind.HARD,  # the mailbox belongs to somebody else now
}
"""By the longest beginning that is here; None where servers mean too many things by it, so that their words decide."""


def any_of(phrases: str, **named: str) -> re.Pattern[str]:
    """A pattern that finds each of the phrases, which stand in a line each, under headings that begin with `#`.

    A name in them stands for its pattern.
    """
    lines = [line.strip() for line in phrases.strip().splitlines()]
    pattern = "|".join(line for line in lines if not line.startswith("#"))
    for name, meaning in named.items():
        pattern = pattern.replace(name, meaning)
    return re.compile(pattern, re.IGNORECASE)


_WHO = "(?:user|recipient|addressee|address|mailbox|account)"
_REFUSED = r"(?:rejected|refused|denied|banned|invalid|unknown|unverified|(?:does |is )?not|doesn'?t|isn'?t)\b"

_BY_WORDS = {
    Kind.BLOCKED: any_of(
        r"""
        # the message
        \bspam\b|unsolicited
        spamhaus
        \b(?:dns|r)bl\b
        (?:black|block)-?\s?list
        \bblocked\b
        reputation
        dmarc|\bspf\b|\bdkim\b
        polic(?:y|ies) (?:reason|restriction|violation|reject)
        due to (?:\w+ ){0,3}(?:policy|content)
        content (?:rejected|denied)
        virus
        (?:message|size|mail) (?:is )?(?:too (?:large|big)|exceeds)
        # whose it is
        sender (?:verif|callout)|callback setup failed|while verifying|verification failed
        (?:envelope|invalid|suspicious|unknown|forged|bad|illegal|un(?:verified|authori[sz]ed|authenticated|resolvable)) sender
        sender(?:'s)? (?:(?:address|domain|e-?mail|id|host|ip|name|<?\S{1,200}@\S{1,255}|is|was|has been) ){0,4}REFUSED
        (?:from address|return[- ]path|identity|sender) (?:is |was )?REFUSED
        e-?mail address (?:is )?not verified|verified sender
        domain of (?:your |the )?(?:envelope )?sender|your (?:envelope )?sender
        badmailfrom|not owned by (?:\w+ )?user|must equal authorized
        # where it comes from
        \b(?:helo|ehlo)\b
        reverse[- ](?:dns|lookup|host ?name|mapping|ip)|\brdns\b|\bptr\b|cannot find your
        client host|dynamic (?:\w+ )?(?:ip|address|host)|dial-?up
        (?:\byour|sending|connecting|originating) (?:ip|host|server|mail ?server|network|mta)(?: address)?(?: \S+)? (?:is|was|has)
        \bip (?:address )?(?:\S+ )?(?:is |was |has been )?REFUSED
        accept (?:any )?(?:e-?)?mails? from
        country (?:is )?REFUSED
        # what it may do here
        relay(?:ing)? (?:access )?(?:denied|disallowed|prohibited|not (?:permitted|allowed))|rcpthosts
        not (?:allowed|permitted|authori[sz]ed) to (?:send|relay|use|connect)|no permission
        authenticat|smtp auth
        administrative(?:ly)? (?:prohibit|denied)
        # how much of it there is
        too many (?:\w+ )?(?:messages|connections|recipients|errors)
        rate[- ]?limit|frequency limited|throttl
        gr[ae]y-?list
        """,
        REFUSED=_REFUSED,
    ),
    Kind.SOFT: any_of(r"""
        box (?:is |size )?(?:\w+ ){0,2}(?:full|exceed)
        quota
        insufficient (?:system )?storage|out of storage
        receiving mail (?:at a rate|too quickly)
        temporar|try again later
        timed? ?out|connection refused
        too many hops
    """),
    Kind.HARD: any_of(
        r"""
        unknown (?:user|recipient|address|mailbox|local[- ]part|alias|or illegal alias)
        WHO(?: \S+){0,4} (?:unknown|disabled|deactivated|inactive|suspended|discontinued|closed|deleted)
        WHO(?: \S+){0,4} (?:unavailable|(?:not|wasn'?t) (?:found|known|listed)|not local)
        no such (?:user|recipient|address|mailbox|person|local user|domain)
        no (?:mailbox|user|account) (?:here )?by that name|(?:is|there'?s) no (?:user|mailbox|account)\b
        (?:does not|doesn'?t) (?:exist|have an? \S+ account)
        invalid (?:recipient|mailbox|user|address)
        not a (?:valid|known) (?:user|recipient|mailbox|address)
        recipient address rejected: access denied
        (?:host|domain)(?: or domain)?(?: name)? not found|nxdomain
        unroute?able (?:mail domain|address)
        bad destination mailbox
        recipientnotfound
        no longer (?:valid|in use|active|works|exists|available)
        """,
        WHO=_WHO,
    ),
}
"""The first that is found decides: who speaks of the sender may say of it, too, that it is unknown or does not exist."""

_URL = re.compile(r"https?://\S+")


def weigh(status: str, words: str, *, otherwise: Kind = Kind.SOFT) -> Kind:
    """How bad a failure is, by its status and by what the server says; in doubt it is the lesser evil."""
    digits = status.split(".")
    by_status = next((_BY_STATUS[key] for n in (3, 2, 1) if (key := ".".join(digits[:n])) in _BY_STATUS), None)
    if by_status not in {None, Kind.HARD}:
        return by_status
    return _weigh_words(words) or by_status or otherwise


def _weigh_words(words: str) -> Kind | None:
    plain = _URL.sub("", words)  # "https://blocklist.example/no-such-user" says nothing
    return next((kind for kind, pattern in _BY_WORDS.items() if pattern.search(plain)), None)


# -- single values --

STATUS = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
REPLY_CODE = re.compile(r"(?<![\d.])([45])[0-5]\d(?=[\s-])")
TELLING = (STATUS, REPLY_CODE, *_BY_WORDS.values())
"""What a text is searched for that tells of a failure, the most telling first."""

ADDRESS = re.compile(r"(?<![^\s<>\"'(),:;@\[\]\\])[^\s<>\"'(),:;@\[\]\\]{1,200}@[^\s<>\"'(),:;@\[\]\\]{1,255}")
_LONGEST_PLACE = 2_000
_MESSAGE_ID = re.compile(r"<?([\x21-\x3b\x3d\x3f-\x7e]{1,900})>?")


def find_status(text: str) -> str:
    """The first enhanced status code in it; failing that, what a plain reply code says: 550 is 5.0.0."""
    if found := STATUS.search(text):
        return found[1]
    code = REPLY_CODE.search(text)
    return f"{code[1]}.0.0" if code else ""


def find_address(text: str) -> str:
    """The first address in it, as addresses of leads are stored."""
    found = ADDRESS.search(text[:_LONGEST_PLACE])
    try:
        return read_email(found[0].strip(".")) if found else ""
    except EmailNotValid:
        return ""


def bare_message_id(text: str) -> str:
    found = _MESSAGE_ID.search(text)
    return found[1] if found else ""


def one_line(text: str, longest: int = LONGEST_DIAGNOSTIC) -> str:
    """Fit for a log and a table: no control characters, bounded."""
    text = text[: 4 * longest]
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:longest]


def without_addresses(text: str) -> str:
    """Fit for a log that many read."""
    return ADDRESS.sub("(an address)", text)
