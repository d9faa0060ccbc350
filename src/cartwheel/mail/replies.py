"""What became of a message, and what a mail server's reply says about it. Pure.

Every reply is judged here and nowhere else: the first rule that fits decides. Whether a refusal condemns the address is
weighed as in a report that comes later (`reports.weigh`).
"""

import re
from enum import StrEnum
from typing import NamedTuple

import msgspec

from cartwheel.bounces import reports
from cartwheel.bounces.reports import Kind


class Fate(StrEnum):
    """All that can become of a message. Only an accepted one was taken, and only one in doubt may have been."""

    ACCEPTED = "accepted"
    LATER = "later"
    """Not this time: try the same message again."""
    NEVER = "never"
    """This message will not be taken."""
    SERVER_TROUBLE = "server trouble"
    """The server, or the way to it, is at fault. It says nothing about the message, which waits as it is."""
    IN_DOUBT = "in doubt"
    """The final dot left, and what the server thinks of it was not heard."""
    FOR_AN_OWNER = "for an owner"
    """It cannot be made, or not be sent from its sender, before somebody has changed the account or told the server."""


class Phase(StrEnum):
    """How far things had come."""

    MAKING = "the making of the message"
    CONNECT = "the connection"
    GREETING = "the greeting"
    HELLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    CHECK = "the check before sending"
    RESET = "RSET"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    BODY = "the message"
    DOT = "the final dot"


OPENING = frozenset({Phase.CONNECT, Phase.GREETING, Phase.HELLO, Phase.STARTTLS, Phase.AUTH})
"""No message is concerned yet."""

_ENVELOPE = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA})
_OF_RECIPIENT = frozenset({Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT})
_ALL = frozenset(Phase)

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\b")

_LONGEST_TEXT = 1000

SERVICE_ENDS = 421
"""The server says so, whatever it was asked, and closes the connection."""


class Reply(NamedTuple):
    """What the server said, line by line."""

    code: int
    text: str

    @property
    def enhanced(self) -> str:
        """The code of RFC 3463, if it begins with one."""
        found = _ENHANCED.match(self.text)
        return found[1] if found else ""

    @property
    def one_line(self) -> str:
        """Its text without the codes that many servers repeat in every line."""
        first, *others = self.text.split("\n")
        return " ".join([first, *(line.removeprefix(self.enhanced).strip() for line in others)]) if others else first


class Outcome(msgspec.Struct, frozen=True):
    """What became of a message, and why. `code` is 0 where no reply decided."""

    fate: Fate
    phase: Phase
    text: str
    code: int = 0
    enhanced: str = ""
    hard: bool = False
    """There is nobody at this address, so that no mail to it will ever arrive."""
    soft: bool = False
    """It did not get to this address, and if that happens to several mails in a row, there is nobody either."""
    quota: bool = False
    """The server has taken all that it will take for hours."""
    suspect: bool = False
    """Said of one recipient in words that servers use of themselves, too: if several hear it, the server is meant."""

    @property
    def unanswered(self) -> bool:
        """It ended with the connection rather than with a reply about the message."""
        return self.phase is not Phase.CHECK and self.code in {0, SERVICE_ENDS}


class Rule(NamedTuple):
    """Replies to the commands of `phases` whose `450 4.2.0 text` fits the pattern from its beginning."""

    phases: frozenset[Phase]
    pattern: re.Pattern[str]
    fate: Fate
    quota: bool = False
    suspect: bool = False


def _rule(phases: frozenset[Phase], pattern: str, fate: Fate, *, quota: bool = False, suspect: bool = False) -> Rule:
    return Rule(phases, re.compile(pattern, re.IGNORECASE | re.VERBOSE), fate, quota, suspect)


_OWN_QUOTA = r"""[45] .* \b(?: \w*SubmissionQuotaExceeded | smtp \s relay \s (?:sending \s)? (?:limit|quota) .{0,30} exceeded )"""
"""So two large providers speak of their own customer, though with the code of a mailbox."""

_QUOTA = r"""[45] .* \b(?: (?:daily|hourly|monthly) \b .{0,60} \b(?:limit|quota) | (?:limit|quota) \b .{0,30} per \s (?:day|hour)
    | maximum \s credits \s exceeded | (?:sending|relay) \s (?:limit|quota) .{0,30} exceeded )"""

_THROTTLED = r"""[45] .* \b(?: throttl | rate [\s-]? limit | (?:sending|send) \s rate | too \s (?:many \s (?:messages|connections) | much \s mail)
    | concurrent \s connections )"""

_NOT_THIS_SENDER = r"""[45] .* \b(?:
    sender \s address \s rejected: \s not \s (?:owned \s by|logged \s in)
    | sendasdenied | (?:permissions?|allowed|authori[sz]ed) \s to \s send \s (?:as|from) \b
    | email \s address \s is \s not \s verified | verified \s sender \s identity | not \s a \s sender \s signature
    | relaying \s disallowed \s as | sender \s is \s not \s allowed \s to \s relay
    | (?:sender|from|sending) \s (?:address|domain) \b .{0,80} \b not \s (?:been \s)?
      (?:allowed|permitted|authori[sz]ed|verified|validated|confirmed|one \s of \s your) \b )"""
"""So servers speak of whom they know to own the address that the mail is from."""

_OF_THE_SENDER = r"""5 .* \b(?: sender | from \s (?:address|domain|header) | return .? path )"""

_SHUT_OUT = r"""(?: 454 | 53[0458] ) | [45] .* \b(?:
    relay(?:ing)? (?:\s access)? \s (?:is \s)? (?:denied|disallowed|prohibited|not \s (?:permitted|allowed))
    | not \s (?:permitted|allowed) \s to \s relay | rcpthosts
    | authentication \s (?:is \s)? required | smtp \s auth | (?:must|please) \s (?:first \s)? authenticate | client \s (?:was \s | is \s)? not \s authenticated
    | unauthenticated \s senders? \s not )"""


RULES = (
    _rule(frozenset({Phase.DOT}), r"2", Fate.ACCEPTED),
    _rule(frozenset({Phase.DOT}), r"[013]", Fate.IN_DOUBT),
    # What the server says of itself. It comes early, because some say it with the codes of a refused message; but what
    # comes with the code of an address or a mailbox is about that, and what a single recipient meets may be.
    _rule(frozenset({Phase.RCPT}), _OWN_QUOTA, Fate.LATER, suspect=True),
    _rule(_ALL, _OWN_QUOTA, Fate.SERVER_TROUBLE, quota=True),
    _rule(_ENVELOPE | {Phase.BODY, Phase.DOT}, _NOT_THIS_SENDER, Fate.FOR_AN_OWNER),
    _rule(frozenset({Phase.MAIL}), _OF_THE_SENDER, Fate.FOR_AN_OWNER),
    _rule(_OF_RECIPIENT, r"4\d\d \s [45]\.[12]\.", Fate.LATER),
    _rule(_OF_RECIPIENT, r"5\d\d \s [45]\.[12]\.", Fate.NEVER),
    _rule(_OF_RECIPIENT, r"5 .* \b gr[ae]y -? list", Fate.LATER),  # some say so with the code of a refusal
    _rule(frozenset({Phase.RCPT}), f"{_QUOTA} | {_THROTTLED} | {_SHUT_OUT}", Fate.LATER, suspect=True),
    _rule(_ALL, _QUOTA, Fate.SERVER_TROUBLE, quota=True),
    _rule(_ALL, _THROTTLED, Fate.SERVER_TROUBLE),
    _rule(OPENING, r"", Fate.SERVER_TROUBLE),
    _rule(_ENVELOPE | {Phase.DOT}, _SHUT_OUT, Fate.SERVER_TROUBLE),
    _rule(frozenset({Phase.MAIL}), r"452", Fate.SERVER_TROUBLE),
    # What it says of the message.
    _rule(_ALL, r"[01234]", Fate.LATER),
    _rule(_ALL, r"", Fate.NEVER),
)


def classify(phase: Phase, reply: Reply) -> Outcome:
    """What a reply means that ends the matter: the one to the final dot, or one that is not what was hoped for."""
    code, text = reply.code, reply.one_line[:_LONGEST_TEXT]
    said = f"{code} {text} "
    rule = next(rule for rule in RULES if phase in rule.phases and rule.pattern.match(said))
    refused = rule.fate in {Fate.NEVER, Fate.LATER} and not rule.suspect
    kind = _of_the_address(phase, code, said) if refused else Kind.BLOCKED
    hard = kind is Kind.HARD and rule.fate is Fate.NEVER
    return Outcome(
        rule.fate,
        phase,
        text,
        code,
        reply.enhanced,
        hard=hard,
        soft=kind is not Kind.BLOCKED and not hard,
        quota=rule.quota,
        suspect=rule.suspect,
    )


_NO_MAILBOX = {550, 551, 553}
"""What servers say of a recipient whom they do not know; but also of senders whom they do not want."""


def _of_the_address(phase: Phase, code: int, said: str) -> Kind:
    """How bad a refusal is for the address; what is said of the sender, and most of a message, says nothing of it.

    A bare 550 to a recipient is not enough to condemn the address at once: several of them in a row are.
    """
    if phase is Phase.MAIL:
        return Kind.BLOCKED
    plain = phase is Phase.RCPT and code in _NO_MAILBOX
    return reports.weigh(reports.find_status(said), said, otherwise=Kind.SOFT if plain else Kind.BLOCKED)


def broken_off(phase: Phase, why: str) -> Outcome:
    """What it means that the connection ended, or fell silent, where a reply in this phase was awaited."""
    if phase in OPENING:
        fate = Fate.SERVER_TROUBLE
    elif phase is Phase.DOT:
        fate = Fate.IN_DOUBT
    else:
        fate = Fate.LATER
    return Outcome(fate, phase, f"at {phase}: {why}", soft=fate is Fate.LATER)
