"""The way into the account of `cartwheel demo`, by the link that it prints and a button."""

from cartwheel.data import userstore
from cartwheel.emails import read_email
from cartwheel.people import LinkKind
from cartwheel.ui import entering
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Visit


@page("/demo/{token}", open=True)
def show_demo(visit: Visit) -> Answer:
    """The link works as long as the demo: whoever has signed out comes in again by it."""
    link = entering.link(visit, LinkKind.DEMO)
    if link.account_id not in visit.catalog.accounts:
        raise NotThere
    return visit.show("demo_door.html", where=visit.catalog.accounts[link.account_id].name)


@page("/demo/{token}", post=True, open=True)
def open_demo(visit: Visit) -> Answer:
    link = entering.link(visit, LinkKind.DEMO)
    with visit.database.read() as connection:
        user = userstore.user_of(connection, read_email(link.email))
    if user is None:
        raise NotThere
    return entering.begin(visit, user, link.account_id, "/")
