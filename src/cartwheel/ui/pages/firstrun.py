"""The first minutes of an installation: its owner and the account, by a link that `serve` prints; sender; mail server."""

from typing import Any

import msgspec

from cartwheel.accountfiles import accountfile
from cartwheel.accountfiles.fileparts import AccountFile, AccountPart
from cartwheel.accounts import LONGEST_NAME, MailSettings
from cartwheel.data import catalog, catalogchanges, userstore
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.mail.smtpurl import Route
from cartwheel.people import LinkKind, OneTimeLink, Right, Role
from cartwheel.phrases import form
from cartwheel.ui import accountforms, entering, mailservers, passwords
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Visit

SENDER = "/welcome/sender"
SERVER = "/welcome/server"


# -- 1: who, and which account --


@page("/setup/{token}", open=True)
def show_setup(visit: Visit) -> Answer:
    _link(visit)
    return visit.show("setup.html", **_context(visit))


@page("/setup/{token}", post=True, open=True)
def set_up(visit: Visit) -> Answer:
    link = _link(visit)
    name, account_name, zone = visit.text("name", 100), visit.text("account", LONGEST_NAME), visit.text("zone")
    password = visit.form.get("password", "")
    password = password if isinstance(password, str) else ""
    there = _accounts(visit)
    errors = {}
    try:
        email = read_email(visit.text("email"))
    except EmailNotValid:
        email = ""
        errors["email"] = visit._("This is no e-mail address.")
    if not name:
        errors["name"] = visit._("How may we call you?")
    if not account_name and not there:
        errors["account"] = visit._("What is your company called?")
    if zone not in accountforms.zones() and not there:
        errors["zone"] = visit._("Please choose a time zone.")
    if told := passwords.complaint(visit, password, email):
        errors["password"] = told
    if errors:
        return visit.refuse("setup.html", errors, **_context(visit))
    if not there:
        account = AccountPart(
            name=account_name,
            timezone=zone,
            mail=MailSettings(sender=accountforms.sender_text(account_name, email)),
        )
        accountfile.apply(visit.database, AccountFile(account=account), visit.now, with_key=False)
    hashed = passwords.hash_password(password)
    with visit.database.write() as connection:
        if not userstore.use_link(connection, link):
            raise NotThere
        user = userstore.add(connection, email, name, hashed, visit.now)
        numbers = catalog.account_numbers(connection)
        for number in numbers:
            userstore.put_member(connection, number, user.id, Role.OWNER, visit.now)
        entering.note(connection, visit, user, form("Set Cartwheel up"))
    return entering.begin(visit, user, numbers[0], SENDER)


def _link(visit: Visit) -> OneTimeLink:
    """Raises `NotThere` for a link that does not work, or no more."""
    found = entering.link(visit, LinkKind.SETUP)
    with visit.database.read() as connection:
        if userstore.count(connection) > 0:
            raise NotThere
    return found


def _accounts(visit: Visit) -> list[str]:
    return [account.name for account in visit.catalog.accounts.values()]


def _context(visit: Visit) -> dict[str, Any]:
    return {"accounts": _accounts(visit), "zones": accountforms.zones()}


# -- 2: the sender --


@page(SENDER, right=Right.SETTINGS)
def show_first_sender(visit: Visit) -> Answer:
    return visit.show("welcome_sender.html", sender=accountforms.sender_parts(visit.account.mail.sender))


@page(SENDER, right=Right.SETTINGS, post=True)
def set_first_sender(visit: Visit) -> Answer:
    """Set the sender and the postal address."""
    errors: dict[str, str] = {}
    sender = accountforms.read_senders(visit, errors, "sender_name", "sender_email")
    if not sender and not errors:
        errors["sender_email"] = visit._("Whom do your mails come from?")
    if errors:
        before = accountforms.sender_parts(visit.account.mail.sender)
        return visit.refuse("welcome_sender.html", errors, sender=before)
    account = visit.account
    mail = msgspec.structs.replace(account.mail, sender=sender, address=visit.text("address", 500))
    with catalogchanges.changing(visit.database, account.id) as connection:
        catalogchanges.change_account(
            connection, account, name=account.name, zone=account.zone.key, gdpr=account.gdpr, mail=mail
        )
    visit.about(sender)
    return visit.redirect(SERVER)


# -- 3: the mail server --


@page(SERVER, right=Right.SETTINGS)
def show_first_server(visit: Visit) -> Answer:
    return visit.show("welcome_server.html", tried=None, **_servers(visit))


@page(SERVER, right=Right.SETTINGS, post=True)
def set_first_server(visit: Visit) -> Answer:
    """Set the mail server."""
    if not mailservers.may_change(visit):
        raise NotThere
    if visit.text("way") == "mailbox":
        mailservers.store(visit, ())
        return visit.redirect(
            "/", visit._("All mail stays in the test mailbox for now. A mail server can be set later.")
        )
    server, errors = mailservers.read(visit)
    if server is None:
        return visit.refuse("welcome_server.html", errors, tried=None, **_servers(visit))
    tried = mailservers.try_out(visit, server) if visit.text("do") != "keep" else None
    if tried is not None and not tried.accepted:
        return visit.refuse("welcome_server.html", {"tried": tried.answer}, tried=tried, **_servers(visit))
    mailservers.store(visit, (Route("*", server),))
    visit.about(server.name)
    if tried is None:
        return visit.redirect("/", visit._("Mail leaves by %s from now on.") % server.name)
    return visit.show("welcome_done.html", tried=tried)


def _servers(visit: Visit) -> dict[str, Any]:
    routes = mailservers.in_force(visit)
    return {
        "routes": routes if mailservers.may_see(visit) else (),
        "leaves": bool(routes),
        "outside": mailservers.are_set_outside(visit),
        "may_change": mailservers.may_change(visit),
    }
