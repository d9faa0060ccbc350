"""An account that has been worked with for some weeks, whose names nobody should trust."""

from datetime import timedelta
from typing import Any

from filled import HOSTILE
from office import Office

from cartwheel.data import schema
from cartwheel.mail.links import MailId
from cartwheel.sending.tracking import ClickWork, OpenWork
from cartwheel.work.leadwork import EraseWork, SuppressionWork
from harness import DEMO, Api, Server, new_api

LEADS = 24
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def live(server: Server, **account: Any) -> Api:
    """Mails that were sent, opened and clicked, points that expire, leads that left, were deleted and erased."""
    mail = {"sender": "Shop <hello@shop.example>", "address": "1 Main Street"}
    api = new_api(server, account={"mail": mail, **account}, file=DEMO)
    for number in range(LEADS):
        _create(api, number)
    office = Office(server)
    office.settle()
    server.clock.forward(days=1)
    for mail_row in api.rows(schema.mails)[:6]:
        which = MailId(api.account_id, mail_row["lead_id"], mail_row["id"])
        office.do(OpenWork(which, server.clock(), BROWSER))
        office.do(ClickWork(which, 0, server.clock() + timedelta(seconds=1), BROWSER))
    server.clock.forward(days=5)
    office.settle()
    api.on("lead3@shop.example", "unsubscribe_lead_from_list", list_name="Newsletter")
    api.on("lead5@shop.example", "unsubscribe_lead_from_sequence", sequence_name="Welcome")
    api.on("lead6@shop.example", "unassign_tag", tag_name="Customer")
    ids = {row["email"]: row["id"] for row in api.rows_of_leads()}
    office.do(SuppressionWork((api.account_id, ids["lead8@shop.example"]), suppressed=True, origin="tests"))
    api.delete("lead9@shop.example")
    office.do(EraseWork((api.account_id, ids["lead11@shop.example"]), "tests"))
    office.close()
    return api


def _create(api: Api, number: int) -> None:
    name = HOSTILE[number % 6][:100] if number % 6 < len(HOSTILE) else f"=Ada+{number}"
    lead = {"email": f"lead{number}@shop.example", "first_name": name, "city": "Łódź", "phone": "+49 30 1234"}
    fields = [
        {"field_identifier": "plan", "field_value": "612"},
        {"field_identifier": "interests", "field_value": ["701", "703"]},
    ]
    actions = [
        {"cmd": "create_lead"},
        {"cmd": "subscribe_lead_to_list", "list_name": ("Newsletter", "Product news")[number % 2]},
        {"cmd": "assign_tag", "tag_name": ("Customer", "Trial user")[number % 2]},
        {"cmd": "give_points_to_lead", "points": str(number + 1), "expiration": str(number % 9)},
    ]
    if number % 3:
        actions.append({"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": "1"})
    answer = api.call(*actions, lead={**lead, "custom_fields": fields})
    assert "Error" not in str(answer), answer
