"""Mail servers as people set them on a page, and a test that shows what a server answers."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from cartwheel.data import installation, signingkeys
from cartwheel.data.userstore import new_token
from cartwheel.errors import BadSetting
from cartwheel.mail import composing, smtpurl
from cartwheel.mail.composing import Unsendable
from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Fate, Phase
from cartwheel.mail.smtpurl import Route, Server, Tls
from cartwheel.sending.smtp import Pool
from cartwheel.ui.slots import Busy
from cartwheel.ui.visits import Visit

LIMITS = ("per_second", "per_hour", "domain_per_second", "domain_per_hour")

SUBMISSION_PORT = "587"
"""Where servers take mail of those who sign in, unless somebody says otherwise."""

_PATIENCE_S = 20


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a mail that was sent on trial."""

    server: str
    to: str
    accepted: bool
    answer: str
    hint: str = ""
    """What to look at when it was not accepted; empty where nobody can tell."""


def in_force(visit: Visit) -> tuple[Route, ...]:
    """Those by which mail leaves; none while all of it stays in the test mailbox."""
    if visit.house.settings.smtp is not None:
        return visit.house.settings.smtp
    with visit.database.read() as connection:
        return installation.routes(connection)


def are_set_outside(visit: Visit) -> bool:
    """Whether CARTWHEEL_SMTP is set, so that the page shows them only."""
    return visit.house.settings.smtp is not None


def may_see(visit: Visit) -> bool:
    """Their hosts and user names, and try them: as with changing them."""
    with visit.database.read() as connection:
        return installation.is_led_from(connection, visit.account.id)


def may_change(visit: Visit) -> bool:
    """Mail servers belong to the installation: the owners of its first account decide."""
    return not are_set_outside(visit) and may_see(visit)


def store(visit: Visit, routes: Sequence[Route]) -> None:
    """Workers take them up. Raises `BadSetting` for servers that do not go together."""
    with visit.database.write() as connection:
        installation.lock(connection)
        installation.put_mail_servers(connection, smtpurl.write_routes(routes))


# -- the form --


def read(visit: Visit, known: Server | None = None) -> tuple[Server | None, dict[str, str]]:
    """The server of a form, or what is wrong with it. An empty password is that of the server that is `known`."""
    host, port, user = visit.text("host", 255), visit.text("port", 6), visit.text("user", 255)
    password = visit.form.get("password", "")
    password = password if isinstance(password, str) else ""
    if not password and known is not None and known.user == user and known.host == host.lower():
        password = known.password
    errors = {}
    if not host:
        errors["host"] = visit._("Where is the mail server?")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):  # noqa: PLR2004 - ports end there
        errors["port"] = visit._("A port is a number from 1 to 65535.")
    if user and not password:
        errors["password"] = visit._("The password that goes with the user name, please.")
    for name in LIMITS:
        if (limit := visit.text(name, 12)) and not (limit.isascii() and limit.isdigit()):
            errors[name] = visit._("A whole number, or nothing for no limit.")
    if errors:
        return None, errors
    limits = {name: limit for name in LIMITS if (limit := visit.text(name, 12).lstrip("0"))}
    try:
        return smtpurl.parse(_url(visit, host, port, user, password, limits)), {}
    except BadSetting as error:
        return None, {"host": str(error)}


def _url(visit: Visit, host: str, port: str, user: str, password: str, options: Mapping[str, str]) -> str:
    tls = visit.text("tls")
    scheme = "smtps" if tls == Tls.FROM_THE_START else "smtp"
    port = port or ("" if tls == Tls.FROM_THE_START else SUBMISSION_PORT)
    given = dict(options) | ({"tls": tls} if tls in {Tls.OFF, Tls.AUTO, Tls.REQUIRED} else {})
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    return f"{scheme}://{login}{host}{f':{port}' if port else ''}?{urlencode(given)}"


# -- a trial --


def trial_mail(visit: Visit, sender: str) -> Outgoing:
    """Raises `Unsendable`."""
    subject = visit._("A test mail of Cartwheel")
    text = visit._("This mail server works: what you read came through it.")
    return letter(visit, sender, visit.user.email, subject, text)


def letter(visit: Visit, sender: str, to: str, subject: str, text: str) -> Outgoing:
    """A mail of Cartwheel itself, signed like the account's. Raises `Unsendable`."""
    with visit.database.read() as connection:
        signers = [key.signer for key in signingkeys.stored(connection, visit.account.id)]
    return composing.note(sender, to, subject, text, number=new_token(), now=visit.now, signers=signers)


def try_out(visit: Visit, server: Server) -> Tried:
    """Send a mail by it to whoever asks; returns what the server answered."""
    to = visit.user.email
    try:
        return send(visit, server, trial_mail(visit, visit.account.mail.sender or to))
    except Unsendable as error:
        return Tried(server.name, to, accepted=False, answer=str(error))


def send(visit: Visit, server: Server, mail: Outgoing) -> Tried:
    """Now, on one connection of its own, with little patience: somebody waits."""
    hasty = replace(server, connections=1, connect_timeout=5.0, command_timeout=10.0, dot_timeout=15.0)

    async def go() -> Tried:
        pool = Pool(hasty)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                outcome = await pool.send(mail)
        except TimeoutError:
            return Tried(server.name, mail.to, accepted=False, answer=visit._("The server was too slow."))
        finally:
            closing = asyncio.create_task(pool.close())
            _CLOSING.add(closing)
            closing.add_done_callback(_CLOSING.discard)
        answer = f"{outcome.code} {outcome.text}" if outcome.code else outcome.text
        if outcome.fate is Fate.ACCEPTED:
            return Tried(server.name, mail.to, accepted=True, answer=answer)
        return Tried(server.name, mail.to, accepted=False, answer=answer, hint=_hint(visit, outcome.phase))

    try:
        with visit.house.slots.one(visit.account.id):
            return asyncio.run_coroutine_threadsafe(go(), visit.house.loop).result(_PATIENCE_S + 10)
    except Busy:
        return Tried(server.name, mail.to, accepted=False, answer=busy(visit))


def busy(visit: Visit) -> str:
    return visit._("Others are waiting for mail servers or the DNS just now. Please try again in a minute.")


def _hint(visit: Visit, phase: Phase) -> str:
    """What is usually the matter when things came so far."""
    match phase:
        case Phase.CONNECT | Phase.GREETING:
            return visit._(
                "Nobody speaks SMTP there: look at the host and the port. Most servers take mail at port 587, or at 465 with TLS from the start; many networks let nothing out by port 25."
            )
        case Phase.STARTTLS | Phase.HELLO:
            return visit._(
                "Encryption did not come about: at port 465 it is TLS from the start, at 587 STARTTLS. The host has to be named as its certificate names it."
            )
        case Phase.AUTH:
            return visit._(
                "It does not take the user name or the password. Many providers want a password of its own for each program, and your whole address as the user name."
            )
        case Phase.MAIL:
            return visit._("It does not let you send from this address: register the sender with your provider first.")
        case Phase.RCPT:
            return visit._("It does not take mail to you: is a user name needed, or is your own address wrong?")
        case _:
            return ""


_CLOSING: set[asyncio.Task[None]] = set()
"""Connections that say good-bye; nobody waits for that."""
