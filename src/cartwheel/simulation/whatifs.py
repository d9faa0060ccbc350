"""What the world does to a lead in a simulation: `opened:2`, `clicked:2@3h`, `tag:Customer@2d`, `leave@5d`. Pure."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cartwheel.accounts import Account
from cartwheel.errors import CartwheelError, DomainError
from cartwheel.leads import mailing
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import PROFILE_FIELDS, CustomValue
from cartwheel.sequences import schedule
from cartwheel.sequences.conditions import FieldUnknown
from cartwheel.sequences.schedule import At, BadSchedule


class BadWhatIf(CartwheelError):
    """What is to happen to a simulated lead cannot be read."""


@dataclass(frozen=True)
class WhatIf:
    """Something that happens once: `after` the start, or after the sending of the mail that it is about; or `at`."""

    text: str
    kind: str
    name: str
    after: timedelta
    at: At | None = None

    @property
    def of_mail(self) -> bool:
        return self.kind in _OF_MAIL

    def moment(self, begun: datetime, zone: ZoneInfo) -> datetime:
        return begun + self.after if self.at is None else max(begun, self.at.moment(zone, None))


SOON = timedelta(hours=1)
"""When a mail is opened or clicked, if nobody said."""

_FORM = re.compile(r"(?P<kind>[a-z]+)(?::(?P<name>[^@]+))?(?:@(?P<when>.+))?")


def read(text: str) -> WhatIf:
    """Raises `BadWhatIf`."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise BadWhatIf(f"what if {text!r}: give something like opened:2, clicked:2@3h, tag:Customer@2d or leave@5d")
    kind, name, when = found["kind"], (found["name"] or "").strip(), found["when"]
    if kind not in _ACTS and kind not in _OF_MAIL:
        raise BadWhatIf(f"what if {text!r}: there is no {kind}, but {', '.join(sorted({*_ACTS, *_OF_MAIL}))}")
    if bool(name) is (kind in _NAMELESS):
        raise BadWhatIf(f"what if {text!r}: {kind} {'stands alone' if name else 'of what?'}")
    default = SOON if kind in _OF_MAIL else timedelta(0)
    if not when:
        return WhatIf(text, kind, name, default)
    if kind not in _OF_MAIL:
        try:
            return WhatIf(text, kind, name, default, At.read(when.strip().replace("T", " ")))
        except BadSchedule:
            pass
    try:
        return WhatIf(text, kind, name, schedule.length(when))
    except BadSchedule as error:
        raise BadWhatIf(f"what if {text!r}: {error.wanted}") from error


def act(what_if: WhatIf, lead: Lead, account: Account, sequence_id: int, mail_key: int, now: datetime) -> None:
    """Raises `BadWhatIf` when the account does not have what it speaks of."""
    if what_if.of_mail:
        see = mailing.clicked if what_if.kind == "clicked" else mailing.opened
        see(lead, lead.mails[mail_key], now, by_machine=False)
        return
    try:
        _ACTS[what_if.kind](lead, account, what_if.name, sequence_id, now)
    except (DomainError, ValueError) as error:
        raise BadWhatIf(f"what if {what_if.text!r}: {error}") from error


# -- what can happen --

Act = Callable[[Lead, Account, str, int, datetime], None]


def _points(lead: Lead, _account: Account, name: str, _sequence_id: int, now: datetime) -> None:
    if not re.fullmatch(r"[+-]?[0-9]{1,7}", name):
        raise ValueError("points are a whole number, like 5 or -5")
    points = int(name)
    if points >= 0:
        lead.grant(points, 0, now)
    else:
        lead.deduct(-points, now)


def _field(lead: Lead, account: Account, name: str, _sequence_id: int, _now: datetime) -> None:
    fill(lead, account, dict([assignment(name)]))


_ACTS: dict[str, Act] = {
    "tag": lambda lead, account, name, _, _now: lead.tag(account.tag_named(name).id),
    "untag": lambda lead, account, name, _, _now: lead.untag(account.tag_named(name).id),
    "list": lambda lead, account, name, _, now: lead.join(account.list_named(name).id, now),
    "unlist": lambda lead, account, name, _, now: lead.leave(account.list_named(name).id, now),
    "points": _points,
    "field": _field,
    "leave": lambda lead, _account, _name, sequence_id, now: lead.unenrol(sequence_id, now, by_lead=True),
    "bounce": lambda lead, account, _name, _, now: lead.bounced(
        lead.email, "no such address", now, hard=True, most_soft=account.mail.soft_bounces
    ),
    "complaint": lambda lead, _account, _name, _, now: lead.complain("", now),
    "delete": lambda lead, _account, _name, _, now: lead.delete(now),
}
_OF_MAIL = {"opened", "clicked"}
_NAMELESS = {"leave", "bounce", "complaint", "delete"}


# -- fields --


def assignments(texts: Iterable[str]) -> dict[str, str]:
    """Each text may hold several, with commas between them; a comma in a value stays. Raises `BadWhatIf`."""
    try:
        return dict(assignment(part) for text in texts for part in re.split(r",(?=[^,=]+=)", text))
    except ValueError as error:
        raise BadWhatIf(str(error)) from error


def assignment(text: str) -> tuple[str, str]:
    """(name, value) of `city=Paris`; raises `ValueError`."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise ValueError(f"{text!r} is no field and value like city=Paris")
    return name.strip(), value.strip()


def fill(lead: Lead, account: Account, fields: dict[str, str]) -> None:
    """Set fields as a person would type them: options by their names, several with `;` between them.

    Raises `FieldUnknown`, or `ValueError` for an option that there is not.
    """
    profile: dict[str, str] = {}
    custom: dict[int, CustomValue] = {}
    for name, value in fields.items():
        if name in PROFILE_FIELDS:
            profile[name] = value
            continue
        found = account.field(name)
        if found is None:
            raise FieldUnknown(f"there is no field {name}")
        if found.type.is_text:
            custom[found.id] = value
            continue
        options = {option.name.casefold(): option.id for option in found.options}
        chosen = [part.strip() for part in value.split(";") if part.strip()]
        for part in chosen:
            if part.casefold() not in options:
                names = ", ".join(option.name for option in found.options)
                raise ValueError(f"field {name} has no option {part}, but {names}")
        custom[found.id] = tuple(options[part.casefold()] for part in chosen)
    lead.edit(profile, custom)
