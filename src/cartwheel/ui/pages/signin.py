"""Signing in, with a second factor where there is one, and out; a new password by a link."""

from cartwheel.data import userstore
from cartwheel.people import LinkKind, User
from cartwheel.phrases import form
from cartwheel.ui import entering, passwords, secondfactor
from cartwheel.ui.registry import page
from cartwheel.ui.translations import languages
from cartwheel.ui.visits import Answer, NotThere, Visit, local_path


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
    user = entering.whose(visit, email, entering.secret_text(visit, "password"))
    if isinstance(user, str):
        return visit.refuse("signin.html", {"password": user}, anybody=True, next=there, email=email, lang=lang)
    accounts = entering.accounts_of(visit, user)
    if not accounts:
        told = visit._("You are no longer a member of any account here.")
        return visit.refuse("signin.html", {"password": told}, anybody=True, next=there, email=email, lang=lang)
    if lang:
        with visit.database.write() as connection:
            userstore.change(connection, user.id, language=lang)
    return entering.proceed(visit, user, accounts[0], there)


def _chosen(language: str) -> str:
    """A language that somebody has chosen here, and that there is."""
    return language if language in languages() else ""


# -- the second factor --


@page("/signin/code/{token}", open=True)
def show_code(visit: Visit) -> Answer:
    _waiting(visit)
    return visit.show("signin_code.html", next=entering.next_path(visit))


@page("/signin/code/{token}", post=True, open=True)
def check_code(visit: Visit) -> Answer:
    account_id, user = _waiting(visit)
    there = entering.next_path(visit)
    told = entering.take_factor(visit, user, visit.text("code", 50))
    if told:
        return visit.refuse("signin_code.html", {"code": told}, next=there)
    with visit.database.write() as connection:
        found = userstore.link(connection, visit.path["token"], visit.now)
        if found is None or not userstore.use_link(connection, found):
            raise NotThere
        if secondfactor.step_of(user.totp_secret, visit.text("code", 50), visit.now) is None:
            entering.note(connection, visit, user, form("Signed in with a recovery code"))
    return entering.begin(visit, user, account_id, there)


def _waiting(visit: Visit) -> tuple[int, User]:
    """The account and the person of whoever has given the right password."""
    found = entering.link(visit, LinkKind.CODE)
    with visit.database.read() as connection:
        user = userstore.user_of(connection, found.email)
    if user is None:
        raise NotThere
    return found.account_id, user


# -- a forgotten password --


@page("/password/{token}", open=True)
def show_new_password(visit: Visit) -> Answer:
    return visit.show("new_password.html", email=entering.link(visit, LinkKind.PASSWORD).email)


@page("/password/{token}", post=True, open=True)
def set_new_password(visit: Visit) -> Answer:
    link = entering.link(visit, LinkKind.PASSWORD)
    password = entering.secret_text(visit, "password")
    if told := passwords.complaint(visit, password, link.email):
        return visit.refuse("new_password.html", {"password": told}, email=link.email)
    hashed = passwords.hash_password(password)
    with visit.database.write() as connection:
        user = userstore.user_of(connection, link.email)
        if user is None or not userstore.use_link(connection, link):
            raise NotThere
        userstore.change(connection, user.id, password_hash=hashed)
        userstore.sign_out(connection, user)
        entering.note(connection, visit, user, form("Set a new password by a link"))
    accounts = entering.accounts_of(visit, user)
    return entering.proceed(visit, user, accounts[0], "/") if accounts else visit.redirect("/signin")


@page("/signout", menu="profile", post=True)
def sign_out(visit: Visit) -> Answer:
    """Signed out."""
    assert visit.signed_in is not None
    session = visit.signed_in.session
    with visit.database.write() as connection:
        userstore.close_sessions(connection, session.user_id, only=session.digest)
    visit.cookie = ""
    return visit.redirect("/signin")
