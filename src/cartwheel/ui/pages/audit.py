"""What people changed on the pages, newest first."""

from cartwheel.data import userstore
from cartwheel.people import Right
from cartwheel.readers import digits
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, Visit

AT_ONCE = 50


@page("/settings/audit", menu="audit", right=Right.PEOPLE)
def show_audit(visit: Visit) -> Answer:
    who, before = digits(visit.query.get("who", "")), digits(visit.query.get("before", ""))
    with visit.database.read() as connection:
        rows = userstore.audited(connection, visit.account.id, before, AT_ONCE + 1, user_id=who)
        members = userstore.members(connection, visit.account.id)
    people = [("", visit._("Everybody"))] + [(str(member.user.id), member.user.email) for member in members]
    return visit.show(
        "audit.html",
        rows=[(row, visit._(row.action)) for row in rows[:AT_ONCE]],
        after=rows[AT_ONCE - 1].id if len(rows) > AT_ONCE else None,
        people=people,
        who="" if who is None else str(who),
    )
