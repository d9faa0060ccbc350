"""The person's own corner: name, language, colours, password, second factor, sessions, and the account they are in."""

import re
from typing import Any

from cartwheel.data import factors, userstore
from cartwheel.ui import browsers, entering, passwords, secondfactor
from cartwheel.ui.registry import page
from cartwheel.ui.translations import languages
from cartwheel.ui.visits import Answer, NotThere, Visit

HERE = "/profile"
THEMES = ("auto", "light", "dark")

_SECRET = re.compile("[A-Z2-7]{32}")


@page(HERE, menu="profile")
def show_profile(visit: Visit) -> Answer:
    return visit.show("profile.html", **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    assert visit.signed_in is not None
    with visit.database.read() as connection:
        sessions = userstore.sessions_of(connection, visit.user.id, visit.now)
        codes = factors.codes_left(connection, visit.user.id)
    return {
        "sessions": [(session, browsers.in_words(session.agent)) for session in sessions],
        "mine": visit.signed_in.session.digest,
        "codes_left": codes,
        "tongues": [
            (code, str(language.locale.get_display_name(language.locale)).capitalize())
            for code, language in languages().items()
        ],
    }


@page(HERE, menu="profile", post=True)
def change_profile(visit: Visit) -> Answer:
    """Changed their profile."""
    name, language, theme = visit.text("name", 101), visit.text("language"), visit.text("theme")
    errors = {}
    if not name or len(name) > 100:  # noqa: PLR2004 - as long as at the set-up
        errors["name"] = visit._("A name of at most 100 characters, please.")
    if errors or (language and language not in languages()) or theme not in THEMES:
        return visit.refuse("profile.html", errors, **_context(visit))
    with visit.database.write() as connection:
        userstore.change(connection, visit.user.id, name=name, language=language, theme=theme)
    return visit.redirect(HERE, visit._("Your profile is changed."))


# -- the password --


@page("/profile/password", menu="profile")
def show_password(visit: Visit) -> Answer:
    return visit.show("password.html")


@page("/profile/password", menu="profile", post=True)
def change_password(visit: Visit) -> Answer:
    """Changed their password."""
    password = entering.secret_text(visit, "password")
    errors = {}
    if told := passwords.complaint(visit, password, visit.user.email):
        errors["password"] = told
    elif not entering.is_me(visit):
        errors["current"] = visit._("This is not your password, or there were too many attempts.")
    if errors:
        return visit.refuse("password.html", errors)
    hashed = passwords.hash_password(password)
    entering.change_way_in(visit, lambda connection: userstore.change(connection, visit.user.id, password_hash=hashed))
    return visit.redirect(HERE, visit._("Your password is changed. All other browsers are signed out."))


# -- the second factor --


@page("/profile/factor", menu="profile")
def show_factor(visit: Visit) -> Answer:
    return visit.show("factor.html", **_factor(visit, ""))


def _factor(visit: Visit, secret: str) -> dict[str, Any]:
    """A new secret is nobody's until it comes back with a code that it made."""
    secret = secret if _SECRET.fullmatch(secret) else secondfactor.new_secret()
    return {"secret": secret, "picture": secondfactor.picture(secret, visit.user.email)}


@page("/profile/factor", menu="profile", post=True)
def switch_factor_on(visit: Visit) -> Answer:
    """Switched their second factor on."""
    if visit.user.totp_secret:
        return visit.redirect(HERE, visit._("Your second factor is on already."))
    secret = visit.text("secret", 40)
    errors = {}
    step = secondfactor.step_of(secret, visit.text("code", 20), visit.now) if _SECRET.fullmatch(secret) else None
    if step is None:
        errors["code"] = visit._("This is not the code of this minute. Is the clock of your phone right?")
    elif not entering.is_me(visit):
        errors["current"] = visit._("This is not your password, or there were too many attempts.")
    if errors or step is None:
        return visit.refuse("factor.html", errors, **_factor(visit, secret))
    codes = factors.new_recovery_codes()
    entering.change_way_in(visit, lambda connection: factors.switch_on(connection, visit.user.id, secret, step, codes))
    return visit.show("recovery_codes.html", codes=codes)


@page("/profile/factor/change", menu="profile")
def show_factor_change(visit: Visit) -> Answer:
    return visit.show("factor_change.html")


@page("/profile/factor/off", menu="profile", post=True)
def switch_factor_off(visit: Visit) -> Answer:
    """Switched their second factor off."""
    if not visit.user.totp_secret:
        raise NotThere
    if errors := _not_me(visit):
        return visit.refuse("factor_change.html", errors)
    entering.change_way_in(visit, lambda connection: factors.switch_off(connection, visit.user.id))
    return visit.redirect(HERE, visit._("Your second factor is off. All other browsers are signed out."))


@page("/profile/factor/codes", menu="profile", post=True)
def renew_codes(visit: Visit) -> Answer:
    """Made new recovery codes."""
    if not visit.user.totp_secret:
        raise NotThere
    if errors := _not_me(visit):
        return visit.refuse("factor_change.html", errors)
    codes = factors.new_recovery_codes()
    entering.change_way_in(visit, lambda connection: factors.replace_codes(connection, visit.user.id, codes))
    return visit.show("recovery_codes.html", codes=codes)


def _not_me(visit: Visit) -> dict[str, str]:
    """What is wrong with the password, or else with the code, which is used up if it is right."""
    if not entering.is_me(visit):
        return {"current": visit._("This is not your password, or there were too many attempts.")}
    told = entering.take_factor(visit, visit.user, visit.text("code", 50))
    return {"code": told} if told else {}


# -- sessions --


@page("/profile/sessions/end", menu="profile", post=True)
def end_session(visit: Visit) -> Answer:
    """Signed a browser of theirs out."""
    assert visit.signed_in is not None
    which = visit.text("session")
    if which == "others":
        with visit.database.write() as connection:
            userstore.close_sessions(connection, visit.user.id, but=visit.signed_in.session.digest)
        return visit.redirect(HERE, visit._("All other browsers are signed out."))
    if not which:
        raise NotThere
    with visit.database.write() as connection:
        userstore.close_sessions(connection, visit.user.id, only=which)
    return visit.redirect(HERE, visit._("The browser is signed out."))


@page("/profile/account", menu="profile", post=True)
def switch_account(visit: Visit) -> Answer:
    """Went to another account."""
    assert visit.signed_in is not None
    number = visit.number("account")
    if number not in visit.other_accounts():
        raise NotThere
    with visit.database.write() as connection:
        userstore.change_session(connection, visit.signed_in.session.digest, account_id=number)
    return visit.redirect("/")
