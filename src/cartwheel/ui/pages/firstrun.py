"""The first minutes of an installation: its owner and the account, by a link that `serve` prints."""

from zoneinfo import available_timezones

from cartwheel.accountfiles import accountfile
from cartwheel.accountfiles.fileparts import AccountFile, AccountPart
from cartwheel.accounts import LONGEST_NAME, MailSettings
from cartwheel.data import catalog, userstore
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.people import LinkKind, OneTimeLink, Role
from cartwheel.ui import passwords
from cartwheel.ui.entering import begin
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Visit


@page("/setup/{token}", open=True)
def show_setup(visit: Visit) -> Answer:
    _link(visit)
    return visit.show("setup.html", accounts=_accounts(visit), zones=sorted(available_timezones()))


@page("/setup/{token}", post=True, open=True)
def set_up(visit: Visit) -> Answer:
    link = _link(visit)
    name, account_name, zone = visit.text("name", 100), visit.text("account", LONGEST_NAME), visit.text("zone")
    password = str(visit.form.get("password", ""))
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
    if zone not in available_timezones():
        errors["zone"] = visit._("Please choose a time zone.")
    if told := passwords.complaint(visit, password, email):
        errors["password"] = told
    if errors:
        zones = sorted(available_timezones())
        return visit.refuse("setup.html", errors, accounts=there, zones=zones)
    if not there:
        sender = f"{name} <{email}>" if name.isascii() and "<" not in name else email
        account = AccountPart(name=account_name, timezone=zone, mail=MailSettings(sender=sender))
        accountfile.apply(visit.database, AccountFile(account=account), visit.now)
    hashed = passwords.hash_password(password)
    with visit.database.write() as connection:
        if not userstore.use_link(connection, link):
            raise NotThere
        user = userstore.add(connection, email, name, hashed, visit.now)
        numbers = catalog.account_numbers(connection)
        for number in numbers:
            userstore.put_member(connection, number, user.id, Role.OWNER, visit.now)
    return begin(visit, user, numbers[0], "/")


def _link(visit: Visit) -> OneTimeLink:
    """Raises `NotThere` for a link that does not work, or no more."""
    with visit.database.read() as connection:
        found = userstore.link(connection, visit.path["token"], visit.now)
        if found is None or found.kind is not LinkKind.SETUP or userstore.count(connection) > 0:
            raise NotThere
    return found


def _accounts(visit: Visit) -> list[str]:
    return [account.name for account in visit.catalog.accounts.values()]
