"""Signing in and out."""

from cartwheel.data import userstore
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.people import User
from cartwheel.ui import passwords
from cartwheel.ui.entering import begin
from cartwheel.ui.registry import page
from cartwheel.ui.translations import languages
from cartwheel.ui.visits import Answer, Visit, local_path


@page("/signin", open=True)
def show_sign_in(visit: Visit) -> Answer:
    there = local_path(visit.query.get("next", "/"))
    if visit.signed_in is not None:
        return visit.redirect(there)
    with visit.database.read() as connection:
        anybody = userstore.count(connection) > 0
    return visit.show("signin.html", anybody=anybody, next=there, email="", lang=_chosen(visit.query.get("lang", "")))


@page("/signin", post=True, open=True)
def sign_in(visit: Visit) -> Answer:
    there, email, lang = local_path(visit.text("next")), visit.text("email"), _chosen(visit.text("lang"))
    password = visit.form.get("password", "")
    user = _right(visit, email, password if isinstance(password, str) else "")
    if isinstance(user, str):
        return visit.refuse("signin.html", {"password": user}, anybody=True, next=there, email=email, lang=lang)
    with visit.database.read() as connection:
        roles = userstore.roles_of(connection, user.id)
    accounts = [number for number in roles if number in visit.catalog.accounts]
    if not accounts:
        told = visit._("You are no longer a member of any account here.")
        return visit.refuse("signin.html", {"password": told}, anybody=True, next=there, email=email, lang=lang)
    if lang:
        with visit.database.write() as connection:
            userstore.change(connection, user.id, language=lang)
    return begin(visit, user, accounts[0], there)


def _chosen(language: str) -> str:
    """A language that somebody has chosen here, and that there is."""
    return language if language in languages() else ""


def _right(visit: Visit, email: str, password: str) -> User | str:
    """The person, or what to tell whoever is not."""
    wrong = visit._("This is not the right address and password.")
    attempts, keys = visit.house.attempts, (visit.address, email.lower())
    if not attempts.take(visit.now, *keys):
        return visit._("Too many attempts. Please wait a minute.")
    try:
        with visit.database.read() as connection:
            user = userstore.user_of(connection, read_email(email))
    except EmailNotValid:
        user = None
    if not passwords.matches(user.password_hash if user else passwords.NOBODYS, password) or user is None:
        return wrong
    attempts.give_back(*keys)
    return user


@page("/signout", menu="profile", post=True)
def sign_out(visit: Visit) -> Answer:
    """Signed out."""
    assert visit.signed_in is not None
    session = visit.signed_in.session
    with visit.database.write() as connection:
        userstore.close_sessions(connection, session.user_id, only=session.digest)
    visit.cookie = ""
    return visit.redirect("/signin")
