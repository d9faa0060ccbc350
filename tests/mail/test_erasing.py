"""An erasure leaves nothing by which anybody could be known, wherever it stood; the books still come right."""

import json
import sqlite3
import threading
import time
from contextlib import closing
from io import StringIO
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hookshop import endpoint
from office import Office
from runshop import ADA, LATER, MAIL, NewShop, Shop
from sink import AS_USUAL, DROP, TAKE_AND_DROP, WAIT, Act, Sink

from cartwheel.data import doctor, schema
from cartwheel.data.erasures import WATCHED
from cartwheel.leads.events import KINDS
from cartwheel.leads.leadparts import PROFILE_FIELDS
from cartwheel.leads.mails import MailState
from cartwheel.mail.links import MailId
from cartwheel.sending.tracking import ClickWork, OpenWork
from cartwheel.work.housekeeping import Housekeeping
from cartwheel.work.leadwork import DoubtWork, EraseWork, SuppressionWork
from commandline import Cartwheel
from harness import Server
from waiting import wait_until

MARK = "zq7mark"
MARKED = f"{MARK}@shop.example"
BEFORE = f"{MARK}.before@shop.example"
TELLING = MAIL | {"subject": "Hello {first_name}", "html": "<p>{email_address}, {shoe}, {city}</p>"}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


pytestmark = pytest.mark.own_server


def lead_id(flow: Shop, email: str = ADA) -> int:
    [row] = flow.api.rows(schema.leads, email=email)
    return int(row["id"])


def do(flow: Shop, work: Any) -> Any:
    return flow.api.server.run(lambda: flow.api.server.application.batches.submit(work))


def erase(flow: Shop, email: str = ADA) -> int:
    number = lead_id(flow, email)
    do(flow, EraseWork((flow.api.account_id, number), "lead"))
    return number


def write(flow: Shop, *statements: Any) -> None:
    with flow.api.server.database.write() as connection:
        for statement in statements:
            connection.execute(statement)


def found_in(server: Server, mark: str) -> set[str]:
    """Every column of every table in which the mark stands."""
    found = set()
    with server.database.read() as connection:
        for table in sa.inspect(connection).get_table_names():
            for row in connection.execute(sa.text(f"SELECT * FROM {table}")).mappings():
                for name, value in row.items():
                    text = bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
                    if mark in text.lower():
                        found.add(f"{table}.{name}")
    return found


def trouble(server: Server) -> list[str]:
    """What the doctor finds; the ledger's sum is right."""
    report = doctor.examine(server.database, server.clock())
    assert sum(report.mails.values()) == report.counts["mails"]
    return [result.name for result in report.results if result.found]


# -- everything --


def live(shop: NewShop, server: Server, sink: Sink) -> Shop:
    """A lead that has left its mark wherever one can."""
    flow = shop(TELLING, TELLING | {"delay": "1 hour"}, LATER, MAIL | {"delay": "60 days"})
    flow.api.call({"cmd": "create_custom_field", "custom_field_identifier": "shoe", "custom_field_type": "input_field"})
    fields = {name: f"{MARK} {name}" for name in PROFILE_FIELDS}
    custom = [{"field_identifier": "shoe", "field_value": MARK}]
    flow.api.create(BEFORE, **fields, custom_fields=custom)
    do(flow, SuppressionWork((flow.api.account_id, lead_id(flow, BEFORE)), suppressed=True, origin="cli"))
    do(flow, SuppressionWork((flow.api.account_id, lead_id(flow, BEFORE)), suppressed=False, origin="cli"))
    flow.api.call({"cmd": "edit_lead"}, lead={"email": BEFORE, "new_email": MARKED})
    endpoint(flow.api, "https://crm.example/", {"assign_tag": None})
    flow.api.on(MARKED, "assign_tag", tag_name="Customer")
    flow.api.on(MARKED, "give_points_to_lead", points=7, expiration=3)
    sink.script["rcpt"] = [AS_USUAL, "450 4.2.0 come again"]
    flow.start(MARKED)
    flow.pass_time(hours=1)
    inside = Office(server)  # it has no mail servers
    flow.api.server.clock.forward(days=2)
    inside.settle()
    inside.close()
    ask = json.dumps({**flow.api.credentials, "get_lead": {"email": MARKED}})
    assert MARK in flow.api.post(ask.encode(), Content_Type="application/json", Idempotency_Key="mine").text
    first = min(row["id"] for row in flow.api.rows(schema.mails))
    mail = MailId(flow.api.account_id, lead_id(flow, MARKED), first)
    do(flow, OpenWork(mail, server.clock(), BROWSER))
    do(flow, ClickWork(mail, 1, server.clock(), BROWSER))
    _write_the_rest(flow)
    server.run(server.application.recorder.flush)
    return flow


def _write_the_rest(flow: Shop) -> None:
    """What takes long to come by, and what this version cannot read."""
    number, account = lead_id(flow, MARKED), flow.api.account_id
    leads, events, runs = schema.leads, schema.events, schema.enrolments
    words = {"notes": MARK, "ip_country": MARK, "gdpr_status_ip": MARK}
    rows = [
        {"id": at, "kind": kind, "details": msgspec.json.encode(event).decode()}
        for at, (kind, event) in enumerate(_marked_events().items(), 1)
    ]
    rows.append({"id": 500, "kind": "from_the_future", "details": json.dumps({"said": MARK})})
    write(
        flow,
        sa.update(leads).where(leads.c.id == number).values(words),
        sa.update(runs).where(runs.c.lead_id == number).values(reason=MARK),
        sa.insert(events).values(
            [row | {"account_id": account, "lead_id": number, "origin": "", "at": 1} for row in rows]
        ),
        sa.update(schema.suppressions).values(details=MARK),
        sa.update(schema.mails).values(reply=f"450 4.2.0 {MARKED} is away"),
    )


def _marked_events() -> dict[str, Any]:
    """One of each kind that quotes anybody."""
    others = {int: 1, bool: True, str: "1"}
    return {
        kind: event(
            **{field.name: others[field.type] for field in msgspec.structs.fields(event)}
            | dict.fromkeys(event.quotes, MARK)
        )
        for kind, event in KINDS.items()
        if event.quotes
    }


PLACES = {
    *(
        f"leads.{name}"
        for name in ("email", "notes", "ip_country", "gdpr_status_ip", *PROFILE_FIELDS, "first_key", "last_key")
    ),
    "lead_fields.value",
    "enrolments.reason",
    "mails.address",
    "mails.reply",
    "suppressions.email",
    "suppressions.details",
    "events.details",
    "hook_deliveries.body",
    "idempotent_calls.answer",
    *(f"api_calls.{name}" for name in ("email", "new_email", "body", "tree", "answer")),
    "test_mailbox.recipient",
    "test_mailbox.subject",
    "test_mailbox.message",
}


def test_an_erasure_leaves_no_mark_anywhere(shop: NewShop, server: Server, sink: Sink) -> None:
    flow = live(shop, server, sink)
    assert found_in(server, MARK) == PLACES, "a new place needs its erasure"
    number = erase(flow, MARKED)
    assert found_in(server, MARK) == set()
    assert trouble(server) == []
    [lead] = flow.api.rows(schema.leads)
    assert (lead["email"], lead["score"], bool(lead["blacklisted"])) == (f"erased:{number}", 0, False)
    for table in (schema.lead_tags, schema.lead_lists, schema.points, schema.test_mailbox, schema.suppressions):
        assert flow.api.rows(table) == []
    kinds = [kind for kind, _ in flow.api.events(str(number))]
    assert kinds[-1] == "lead_erased"
    assert not WATCHED & set(kinds)
    assert {"mail_sent", "points_given", "from_the_future"} <= set(kinds)
    assert [row["origin"] for row in flow.api.rows(schema.events, kind="lead_erased")] == ["lead"]
    assert all(row["opened_at"] is None and row["clicked_at"] is None for row in flow.api.rows(schema.mails))
    assert [row["status"] for row in flow.api.rows(schema.enrolments)] == ["unsubscribed"]


def truncated(connection: sqlite3.Connection) -> bool:
    """Whether the log could be emptied: not while somebody reads."""
    [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return not busy


def test_the_free_pages_of_a_file_hold_the_rest_until_it_is_vacuumed(
    shop: NewShop, server: Server, sink: Sink, engine: str
) -> None:
    """As the how-to has it."""
    if engine != "sqlite":
        pytest.skip("PostgreSQL frees its pages by itself")
    flow = live(shop, server, sink)
    erase(flow, MARKED)
    assert server.database.path is not None
    with closing(sqlite3.connect(server.database.path)) as connection:
        connection.execute("VACUUM")
        wait_until(lambda: truncated(connection), "the log is always in use", 20)
    for path in server.database.path.parent.glob(f"{server.database.path.name}*"):
        assert MARK.encode() not in path.read_bytes(), path


def test_the_neighbours_keep_everything(shop: NewShop, server: Server, sink: Sink) -> None:
    flow = live(shop, server, sink)
    flow.api.create(ADA, first_name="Ada")
    flow.api.on(ADA, "assign_tag", tag_name="Customer")
    flow.api.on(ADA, "give_points_to_lead", points=7)
    flow.start()
    server.clock.forward(hours=1)

    def rows() -> list[Any]:
        tables = (schema.lead_tags, schema.points, schema.mails, schema.enrolments, schema.events)
        [ada] = flow.api.rows(schema.leads, email=ADA)
        return [ada, *(flow.api.rows(table, lead_id=ada["id"]) for table in tables)]

    before = rows()
    erase(flow, MARKED)
    assert rows() == before


def test_every_text_of_an_event_is_wiped_or_known_to_say_nothing_of_a_person() -> None:
    """Labels of boxes, names of fields, and words of Cartwheel's own."""
    texts = {
        (kind, field.name)
        for kind, event in KINDS.items()
        for field in msgspec.structs.fields(event)
        if field.type not in {int, bool, list[int]} and field.name not in event.quotes
    }
    assert {(kind, name) for kind, name in texts if name != "step"} == {
        ("automation_ran", "event"),
        ("lead_created", "source"),
        ("lead_edited", "fields"),
        ("lead_suppressed", "reason"),
        ("list_refused", "reason"),
        ("sequence_refused", "reason"),
        ("suppression_lifted", "reason"),
    }


# -- afterwards --


def test_nobody_answers_to_the_address_or_the_number_any_more(shop: NewShop) -> None:
    flow = shop(MAIL)
    body = {"actions": [{"cmd": "create_lead"}], "lead": {"email": ADA}, "get_lead": {"email": ADA}}
    call = json.dumps({**flow.api.credentials, **body}).encode()

    def repeated() -> Any:
        return flow.api.post(call, Content_Type="application/json", Idempotency_Key="once").json()

    assert repeated()["status"] == "Success"
    number = erase(flow)
    for lead in ({"email": ADA}, {"id": str(number)}, {"email": f"erased:{number}"}):
        assert flow.api.call({"cmd": "search_lead"}, lead=lead)["status"] == "Error"
        assert flow.api.call(get_lead=lead)["status"] == "Error"
    assert flow.api.call({"cmd": "edit_lead"}, lead={"id": str(number), "city": "Rome"})["message"] == "No lead found"
    assert repeated()["message"] == "No lead found", "the call that made it does not make it again"
    assert len(flow.api.rows(schema.leads)) == 1
    assert flow.api.create(ADA) != str(number)
    assert flow.api.lead(ADA)["blacklisted"] == 0


def test_an_address_that_comes_back_is_not_mailed_until_an_owner_allows_it(
    shop: NewShop, cartwheel: Cartwheel, sink: Sink, server: Server
) -> None:
    flow = shop(MAIL, LATER)
    account = ("--account", flow.name)
    assert "not to be mailed" not in cartwheel("why", ADA, *account).out
    flow.start()
    assert len(sink.messages) == 1
    assert cartwheel("lead", "erase", ADA, "--yes", *account).code == 0
    assert [(row["who"], row["action"]) for row in flow.api.rows(schema.audit_log)] == [
        ("command line", "Erased a lead")
    ]
    assert "not to be mailed since" in " ".join(cartwheel("why", ADA, *account).out.split())

    flow.start()
    assert len(sink.messages) == 1
    [mail] = [row for row in flow.api.rows(schema.mails) if row["state"] == "suppressed"]
    assert mail["reply"] == "do not contact: a lead with this address was erased"
    why = " ".join(cartwheel("why", ADA, *account).out.split())
    assert "do not contact (a lead with this address was erased)" in why
    assert cartwheel("lead", "allow", ADA, *account).code == 0
    flow.pass_time(days=2)
    assert [message.rcpt for message in sink.messages] == [f"TO:<{ADA}>"] * 2
    assert trouble(server) == []

    erase(flow)
    flow.start()
    flow.pass_time(days=2)
    assert len(sink.messages) == 2, "what was allowed was allowed to the one before"


def test_another_accounts_lead_with_the_address_is_mailed(shop: NewShop, sink: Sink) -> None:
    flow, other = shop(MAIL), shop(MAIL)
    flow.start()
    other.start()
    erase(flow)
    other.start("grace@shop.example")
    assert len(sink.messages) == 3
    assert other.api.rows(schema.erased_addresses) == []
    assert other.api.lead(ADA)["id"]


@pytest.mark.parametrize(("said", "reason"), [("hard bounce", "do not contact"), ("complaint", "complaint")])
def test_what_the_person_said_itself_is_remembered(shop: NewShop, said: str, reason: str) -> None:
    flow = shop(MAIL)
    flow.start()
    row = {"account_id": flow.api.account_id, "email": ADA, "reason": said, "at": 1, "details": "", "soft_bounces": 0}
    write(flow, sa.insert(schema.suppressions).values(row))
    erase(flow)
    assert [row["reason"] for row in flow.api.rows(schema.erased_addresses)] == [reason]


def test_an_erased_lead_is_not_erased_again(shop: NewShop, cartwheel: Cartwheel, server: Server) -> None:
    flow = shop(MAIL)
    flow.start()
    number = erase(flow)
    before = flow.api.rows(schema.events)
    for verb in (("erase", "--yes"), ("delete",), ("restore",), ("suppress",), ("allow",), ("untrack",)):
        for who in (ADA, number):
            ran = cartwheel("lead", verb[0], who, *verb[1:], "--account", flow.name)
            assert (ran.code, ran.out) == (1, "")
    assert flow.api.rows(schema.events) == before
    shown = cartwheel("lead", "show", number, "--account", flow.name).out
    assert "Was erased" in shown
    assert "nothing is left of it" in " ".join(cartwheel("why", number, "--account", flow.name).out.split())
    assert trouble(server) == []


def test_an_erasure_is_not_done_unasked(shop: NewShop, cartwheel: Cartwheel) -> None:
    flow = shop(MAIL)
    flow.start()
    ran = cartwheel("lead", "erase", ADA, "--account", flow.name)
    assert (ran.code, "--yes" in ran.err) == (2, True)
    assert flow.api.lead(ADA)["email"] == ADA


class Terminal(StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


def test_somebody_at_a_terminal_is_asked(shop: NewShop, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = shop(MAIL)
    flow.start()
    for answer, code, left in (("n", 1, 1), ("", 1, 1), ("y", 0, 0)):
        monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
        assert cartwheel("lead", "erase", ADA, "--account", flow.name).code == code
        assert len(flow.api.rows(schema.leads, email=ADA)) == left


# -- the moment itself --


def test_a_lead_that_is_stuck_is_erased(shop: NewShop, server: Server) -> None:
    flow = shop(MAIL, {"type": "go_to", "to": "3"}, {"type": "go_to", "to": "2"})
    flow.start()
    assert flow.run["status"] == "parked"
    erase(flow)
    assert (flow.run["status"], flow.run["reason"]) == ("unsubscribed", "")
    assert flow("unpark", "--all") == "0 leads try again.\n"
    assert trouble(server) == []


def test_what_waits_is_not_sent_to_the_erased(shop: NewShop, sink: Sink, server: Server) -> None:
    flow = shop(MAIL, LATER)
    sink.script["rcpt"] = ["450 4.2.0 come again"]
    flow.start()
    erase(flow)
    assert [row["state"] for row in flow.api.rows(schema.mails)] == ["suppressed"]
    flow.pass_time(days=3)
    assert sink.messages == []
    assert trouble(server) == []


def test_points_that_would_expire_are_gone_with_the_erased(shop: NewShop, server: Server) -> None:
    flow = shop(MAIL)
    flow.api.create(ADA)
    flow.api.on(ADA, "give_points_to_lead", points=7, expiration=1)
    erase(flow)
    server.clock.forward(days=2)
    server.run(Housekeeping(server.database, server.application.batches, clock=server.clock).round)
    assert trouble(server) == []


ANSWERS: list[tuple[Act, str, MailState]] = [
    (AS_USUAL, "hold", MailState.ACCEPTED),
    (f"250 2.0.0 {ADA} has it", "hold", MailState.ACCEPTED),
    (f"450 4.2.0 {ADA} is away", "hold", MailState.SUPPRESSED),
    (f"550 5.1.1 {ADA} is nobody", "hold", MailState.FAILED),
    (DROP, "hold", MailState.IN_DOUBT),
    (TAKE_AND_DROP, "resend", MailState.IN_DOUBT),
]


@pytest.mark.parametrize(("answer", "policy", "state"), ANSWERS, ids=lambda value: str(value)[:8])
def test_who_is_erased_while_a_mail_is_on_its_way_leaves_exact_books(
    shop: NewShop, sink: Sink, server: Server, answer: Act, policy: str, state: MailState
) -> None:
    flow = shop(MAIL, LATER)
    accounts = schema.accounts
    held = json.loads(str(_value(flow, accounts.c.mail, accounts.c.id == flow.api.account_id)) or "{}")
    write(flow, sa.update(accounts).values(mail=json.dumps(held | {"in_doubt": policy})))
    write(flow, sa.update(schema.catalog_version).values(version=schema.catalog_version.c.version + 1))
    flow.api.create(ADA)
    flow.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")
    sink.script |= {"data": [WAIT], "dot": [answer]}
    sending = threading.Thread(target=flow.office.settle)
    sending.start()
    deadline = time.monotonic() + 30
    while not sink.waiting:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    erase(flow)
    sink.go_on()
    sending.join()
    [mail] = flow.api.rows(schema.mails)
    assert (mail["state"], mail["reply"], mail["address"]) == (state, "erased", "")
    flow.pass_time(days=5)
    assert [row["state"] for row in flow.api.rows(schema.mails)] == [state]
    assert found_in(server, ADA) == set()
    assert trouble(server) == []


def test_a_mail_in_doubt_to_the_erased_is_only_given_up(shop: NewShop, sink: Sink, server: Server) -> None:
    flow = shop(MAIL)
    sink.script["dot"] = [TAKE_AND_DROP]
    flow.start()
    [mail] = flow.api.rows(schema.mails)
    assert mail["state"] == "in doubt"
    key = (flow.api.account_id, erase(flow))
    do(flow, DoubtWork(key, mail["id"], again=True, reason=f"{ADA} says that it did not come", origin="cli"))
    flow.pass_time(days=1)
    assert [row["state"] for row in flow.api.rows(schema.mails)] == ["failed"]
    assert found_in(server, ADA) == set()
    assert trouble(server) == []


def _value(flow: Shop, column: sa.Column[Any], where: Any) -> object:
    with flow.api.server.database.read() as connection:
        return connection.execute(sa.select(column).where(where)).scalar_one()
