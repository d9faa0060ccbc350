"""The account: its name, its time zone, how its mail is sent."""

from typing import Any

from cartwheel.accounts import LONGEST_NAME, DoubtPolicy, MailSettings
from cartwheel.data import catalogchanges
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import NameTaken
from cartwheel.people import Right
from cartwheel.ui import accountforms
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, Visit

HERE = "/settings"

_MOST_BOUNCES = 100


@page(HERE, menu="account", right=Right.SETTINGS)
def show_settings(visit: Visit) -> Answer:
    return visit.show("settings.html", **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    mail = visit.account.mail
    return {
        "public_url": visit.house.settings.public_url,
        "zones": accountforms.zones(),
        "sender": accountforms.sender_parts(mail.sender),
        "reply": accountforms.sender_parts(mail.reply_to),
    }


@page(HERE, menu="account", right=Right.SETTINGS, post=True)
def change_settings(visit: Visit) -> Answer:
    """Changed the account's settings."""
    account, errors = visit.account, _complaints(visit)
    sender = accountforms.read_senders(visit, errors, "sender_name", "sender_email")
    reply_to = _reply_to(visit, errors)
    name, zone = visit.text("name", LONGEST_NAME + 1), visit.text("zone")
    if not errors:
        mail = MailSettings(
            sender=sender,
            reply_to=reply_to,
            address=visit.text("address", 500),
            track_opens="track_opens" in visit.form,
            track_clicks="track_clicks" in visit.form,
            soft_bounces=visit.number("soft_bounces") or 1,
            in_doubt=DoubtPolicy(visit.text("in_doubt")),
        )
        try:
            with catalogchanges.changing(visit.database, account.id) as connection:
                catalogchanges.change_account(
                    connection, account, name=name, zone=zone, gdpr="gdpr" in visit.form, mail=mail
                )
        except NameTaken:
            errors["name"] = visit._("There is an account of this name.")
    if errors:
        return visit.refuse("settings.html", errors, **_context(visit))
    return visit.redirect(HERE, visit._("The settings are changed."))


def _complaints(visit: Visit) -> dict[str, str]:
    errors = {}
    name, bounces = visit.text("name", LONGEST_NAME + 1), visit.number("soft_bounces")
    if not name or len(name) > LONGEST_NAME:
        errors["name"] = visit._("A name of at most %d characters, please.") % LONGEST_NAME
    if visit.text("zone") not in accountforms.zones():
        errors["zone"] = visit._("Please choose a time zone.")
    if bounces is None or not 1 <= bounces <= _MOST_BOUNCES:
        errors["soft_bounces"] = visit._("A number from 1 to %d, please.") % _MOST_BOUNCES
    if visit.text("in_doubt") not in set(DoubtPolicy):
        errors["in_doubt"] = visit._("Please choose one of the two.")
    return errors


def _reply_to(visit: Visit, errors: dict[str, str]) -> str:
    try:
        return read_email(text) if (text := visit.text("reply_to", 255)) else ""
    except EmailNotValid:
        errors["reply_to"] = visit._("This is no e-mail address.")
        return ""
