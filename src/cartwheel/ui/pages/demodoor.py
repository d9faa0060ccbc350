"""The way into the account of `cartwheel demo`, by the link that it prints and a button."""

from cartwheel.data import userstore
from cartwheel.emails import read_email
from cartwheel.people import LinkKind
from cartwheel.ui import entering
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Visit


@page("/demo/{token}", open=True)
def show_demo(visit: Visit) -> Answer:
    """Who only looks, such as a program that fetches each link it sees, does not use it up."""
    link = entering.link(visit, LinkKind.DEMO)
    if link.account_id not in visit.catalog.accounts:
        raise NotThere
    return visit.show("demo_door.html", where=visit.catalog.accounts[link.account_id].name)


@page("/demo/{token}", post=True, open=True)
def open_demo(visit: Visit) -> Answer:
    link = entering.link(visit, LinkKind.DEMO)
    with visit.database.write() as connection:
        user = userstore.user_of(connection, read_email(link.email))
        if user is None or not userstore.use_link(connection, link):
            raise NotThere
    return entering.begin(visit, user, link.account_id, "/")
