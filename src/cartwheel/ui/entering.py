"""How somebody gets in, whichever way they came."""

from cartwheel.data import userstore
from cartwheel.people import User
from cartwheel.ui.visits import Answer, Visit


def begin(visit: Visit, user: User, account_id: int, there: str) -> Answer:
    """The session, with a token that nobody knew before."""
    with visit.database.write() as connection:
        visit.cookie = userstore.open_session(connection, user.id, account_id, visit.now, visit.address, visit.agent)
    return visit.redirect(there)
