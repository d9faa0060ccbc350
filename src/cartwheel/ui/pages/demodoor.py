"""The way into the account of `cartwheel demo`, by the link that it prints."""

from cartwheel.data import userstore
from cartwheel.emails import read_email
from cartwheel.people import LinkKind
from cartwheel.ui.entering import begin
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Visit


@page("/demo/{token}", open=True)
def open_demo(visit: Visit) -> Answer:
    with visit.database.write() as connection:
        found = userstore.link(connection, visit.path["token"], visit.now)
        if found is None or found.kind is not LinkKind.DEMO or not userstore.use_link(connection, found):
            raise NotThere
        user = userstore.user_of(connection, read_email(found.email))
        if user is None:
            raise NotThere
    return begin(visit, user, found.account_id, "/")
