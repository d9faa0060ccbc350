"""How somebody gets in, whichever way they came: the session, the second factor, and what ends other sessions."""

from collections.abc import Callable
from urllib.parse import quote

import sqlalchemy as sa

from cartwheel.data import factors, userstore
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.people import LinkKind, OneTimeLink, User
from cartwheel.ui import passwords, secondfactor
from cartwheel.ui.attempts import loose, strict
from cartwheel.ui.visits import Answer, NotThere, Visit, local_path


def begin(visit: Visit, user: User, account_id: int, there: str) -> Answer:
    """The session, with a token that nobody knew before."""
    with visit.database.write() as connection:
        visit.cookie = userstore.open_session(connection, user.id, account_id, visit.now, visit.address, visit.agent)
    return visit.redirect(there)


def proceed(visit: Visit, user: User, account_id: int, there: str) -> Answer:
    """After the right password: the session, or first the page that asks for the second factor."""
    if not user.totp_secret:
        return begin(visit, user, account_id, there)
    with visit.database.write() as connection:
        token = userstore.make_link(connection, LinkKind.CODE, visit.now, account_id=account_id, email=user.email)
    return visit.redirect(f"/signin/code/{token}?next={quote(there)}")


def whose(visit: Visit, email: str, password: str) -> User | str:
    """The person of this address and password, or what to tell whoever is not."""
    wrong = visit._("This is not the right address and password.")
    try:
        address = read_email(email)
    except EmailNotValid:
        address = ""
    attempts = visit.house.attempts
    limits = strict(f"{visit.network} {address}"), loose(address), loose(visit.network)
    if not attempts.take(visit.now, *limits):
        return visit._("Too many attempts. Please wait a minute.")
    with visit.database.read() as connection:
        user = userstore.user_of(connection, address)
    if not passwords.matches(user.password_hash if user else passwords.NOBODYS, password) or user is None:
        return wrong
    attempts.give_back(*limits)
    return user


def is_me(visit: Visit) -> bool:
    """Whether the password of the form is that of whoever is signed in. What others try elsewhere does not count here."""
    attempts, limit = visit.house.attempts, strict(f"password {_session(visit)}")
    if not attempts.take(visit.now, limit):
        return False
    if not passwords.matches(visit.user.password_hash, secret_text(visit, "current")):
        return False
    attempts.give_back(limit)
    return True


def _session(visit: Visit) -> str:
    assert visit.signed_in is not None
    return visit.signed_in.session.digest


def secret_text(visit: Visit, name: str) -> str:
    """A password as it was typed: nothing is trimmed."""
    value = visit.form.get(name, "")
    return value if isinstance(value, str) else ""


def link(visit: Visit, kind: LinkKind) -> OneTimeLink:
    """The one in the page's address; raises `NotThere` for one that does not work, or no more."""
    with visit.database.read() as connection:
        found = userstore.link(connection, visit.path["token"], visit.now)
    if found is None or found.kind is not kind:
        raise NotThere
    return found


def accounts_of(visit: Visit, user: User) -> list[int]:
    """Where somebody is a member."""
    with visit.database.read() as connection:
        roles = userstore.roles_of(connection, user.id)
    return [number for number in roles if number in visit.catalog.accounts]


def note(connection: sa.Connection, visit: Visit, user: User, action: str) -> None:
    """In the audit logs of all accounts where somebody is a member: what they did at a door, before they were in."""
    for number in userstore.roles_of(connection, user.id):
        userstore.audit(connection, number, visit.now, user, action, user.email)


def take_factor(visit: Visit, user: User, code: str) -> str:
    """What is wrong with a code of the second factor, or a recovery code; empty if it was right, and is used up."""
    limit = strict(f"code {_session(visit) if visit.signed_in and visit.user.id == user.id else user.id}")
    if not visit.house.attempts.take(visit.now, limit):
        return visit._("Too many attempts. Please wait a minute.")
    step = secondfactor.step_of(user.totp_secret, code, visit.now)
    with visit.database.write() as connection:
        if step is not None:
            right = factors.use_step(connection, user.id, step)
        else:
            right = factors.use_recovery_code(connection, user.id, code)
    if not right:
        return visit._("This code is not right, or it was used before.")
    visit.house.attempts.give_back(limit)
    return ""


def change_way_in(visit: Visit, change: Callable[[sa.Connection], object]) -> None:
    """Change the password or the second factor: whoever else is signed in as this person, or could be, is out.

    Also this browser's token is a new one, so that the old one is of no use to whoever copied it.
    """
    assert visit.signed_in is not None
    with visit.database.write() as connection:
        change(connection)
        userstore.sign_out(connection, visit.user)
        visit.cookie = userstore.open_session(
            connection, visit.user.id, visit.account.id, visit.now, visit.address, visit.agent
        )
        visit.signed_in = userstore.signed_in(connection, visit.cookie, visit.now)


def next_path(visit: Visit) -> str:
    """Where somebody wanted to go before they had to sign in."""
    return local_path(visit.text("next") or visit.query.get("next", "/"))
