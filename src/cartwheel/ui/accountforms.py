"""What several pages ask of an account: its time zone and its sender."""

import re
from functools import cache
from zoneinfo import available_timezones

from cartwheel.emails import EmailNotValid, read_email
from cartwheel.mail.composing import Unsendable, read_sender
from cartwheel.ui.visits import Visit

_SPECIAL = re.compile(r'[()<>@,:;".\[\]\\]')


@cache
def zones() -> list[str]:
    return sorted(available_timezones())


def sender_text(name: str, email: str) -> str:
    """`Name <address>`, as account files have it."""
    name = " ".join(name.split())
    if _SPECIAL.search(name):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        name = f'"{escaped}"'
    return f"{name} <{email}>" if name else email


def sender_parts(text: str) -> tuple[str, str]:
    """Name and address; empty if there is none."""
    try:
        return read_sender(text) if text else ("", "")
    except Unsendable:
        return "", text


def read_senders(visit: Visit, errors: dict[str, str], name: str, email: str) -> str:
    """The sender of these two fields; none if both are empty. Notes in `errors` what is wrong."""
    given = visit.text(email, 255)
    if not given:
        if visit.text(name):
            errors[email] = visit._("The name needs an address.")
        return ""
    try:
        return sender_text(visit.text(name, 100), read_email(given))
    except EmailNotValid:
        errors[email] = visit._("This is no e-mail address.")
        return ""
