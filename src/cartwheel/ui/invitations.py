"""Invitations: made on the page of people, and mailed where there is a mail server."""

from cartwheel.data import userstore
from cartwheel.mail.composing import Unsendable
from cartwheel.people import LinkKind, Role
from cartwheel.sending.servers import domain_of
from cartwheel.ui import accountforms, mailservers
from cartwheel.ui.mailservers import Tried
from cartwheel.ui.visits import Visit


def make(visit: Visit, email: str, role: Role) -> str:
    """Returns the link; an earlier one for this address does not work any more."""
    with visit.database.write() as connection:
        token = userstore.make_link(
            connection,
            LinkKind.INVITATION,
            visit.now,
            account_id=visit.account.id,
            email=email,
            role=role,
            sender=visit.user.id,
        )
    return f"{visit.base_url}/invitation/{token}"


def send(visit: Visit, email: str, link: str) -> Tried | None:
    """None as long as no mail leaves this machine, or the account has no sender."""
    routes, sender = mailservers.in_force(visit), visit.account.mail.sender
    if not routes or not sender:
        return None
    domain = domain_of(accountforms.sender_parts(sender)[1])
    server = next(route.server for route in routes if route.fits(domain))
    subject = visit._("%s invites you to Cartwheel") % visit.user.name
    text = visit._(
        "%(who)s would like you to work on %(account)s with them. This link lets you in, once, for seven days:"
    )
    text = text % {"who": visit.user.name, "account": visit.account.name}
    try:
        return mailservers.send(visit, server, mailservers.letter(visit, sender, email, subject, f"{text}\n\n{link}\n"))
    except Unsendable as error:
        return Tried(server.name, email, accepted=False, answer=str(error))
