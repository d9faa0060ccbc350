"""What an account keeps for a while only goes by itself, and nothing else does; before that it is told how much it is."""

from collections import Counter

import pytest

from cartwheel.accounts import Retention
from cartwheel.data import catalogchanges, doctor, retention, schema
from cartwheel.work.housekeeping import Housekeeping
from commandline import Cartwheel, name_of
from harness import Api, Server
from livedin import live

pytestmark = pytest.mark.own_server


@pytest.fixture
def lived(server: Server) -> Api:
    return aged(live(server))


def aged(api: Api) -> Api:
    """What was to happen with time has happened: nothing in it is ten days old yet."""
    server = api.server
    server.clock.forward(days=3, hours=12)

    async def run() -> None:
        keeper = Housekeeping(server.database, server.application.batches, clock=server.clock)
        while await keeper.round():
            pass

    server.run(run)
    return api


def keep(api: Api, **days: int) -> None:
    with catalogchanges.changing(api.server.database, api.account_id) as connection:
        catalogchanges.change_retention(connection, api.account_id, Retention(**days))


def tidy(api: Api) -> int:
    """Housekeeping until it rests; how many rounds that took."""
    server = api.server

    async def run() -> int:
        keeper, rounds = Housekeeping(server.database, server.application.batches, clock=server.clock), 0
        while await keeper.tidy():
            rounds += 1
        return rounds

    return server.run(run)


def kinds(api: Api) -> Counter[str]:
    return Counter(row["kind"] for row in api.rows(schema.events))


def going(api: Api, **days: int) -> retention.Going:
    with api.server.database.read() as connection:
        return retention.going(connection, api.account_id, Retention(**days), api.server.clock())


def healthy(api: Api) -> bool:
    return doctor.examine(api.server.database, api.server.clock()).healthy


def test_by_default_everything_is_kept(lived: Api) -> None:
    before = {table.name: lived.rows(table) for table in (schema.events, schema.mails, schema.leads, schema.clicks)}
    lived.server.clock.forward(days=3000)
    tidy(lived)
    assert {table: lived.rows(schema.metadata.tables[table]) for table in before} == before
    assert not going(lived).anything


def test_opens_and_clicks_go_everywhere(lived: Api) -> None:
    seen = ("opened_at", "clicked_at", "machine_opened_at", "machine_clicked_at")
    others, mails = kinds(lived), len(lived.rows(schema.mails))
    assert others["mail_opened"]
    lived.server.clock.forward(days=20)
    expected = going(lived, opens_and_clicks=10).opens_and_clicks
    keep(lived, opens_and_clicks=10)
    tidy(lived)
    assert not lived.rows(schema.clicks)
    assert not any(row[name] for row in lived.rows(schema.mails) for name in seen)
    gone = others - kinds(lived)
    assert set(gone) <= {"mail_opened", "mail_clicked"}
    assert 0 < gone.total() <= expected
    assert len(lived.rows(schema.mails)) == mails
    assert healthy(lived)
    assert not going(lived, opens_and_clicks=10).anything


def test_what_is_young_stays(lived: Api) -> None:
    before, clicks = kinds(lived), len(lived.rows(schema.clicks))
    keep(lived, opens_and_clicks=10, events=10, mails=10, deleted_leads=10)
    assert not going(lived, opens_and_clicks=10, events=10, mails=10, deleted_leads=10).anything
    tidy(lived)
    assert (kinds(lived), len(lived.rows(schema.clicks))) == (before, clicks)


def test_of_the_events_proofs_and_those_of_mails_stay(lived: Api) -> None:
    before = kinds(lived)
    lived.server.clock.forward(days=20)
    expected = going(lived, events=10)
    keep(lived, events=10)
    tidy(lived)
    assert set(kinds(lived)) == {"lead_created", "lead_erased", "mail_sent", "mail_not_sent"} & set(before)
    assert (before - kinds(lived)).total() == expected.events + expected.opens_and_clicks
    assert all(kinds(lived)[kind] == before[kind] for kind in kinds(lived))
    assert healthy(lived)


def test_mails_go_with_their_events_and_the_books_stay_right(lived: Api) -> None:
    lived.server.clock.forward(days=20)
    expected = going(lived, mails=10)
    before = len(lived.rows(schema.mails))
    keep(lived, mails=10)
    tidy(lived)
    left = lived.rows(schema.mails)
    assert before - len(left) == expected.mails > 0
    assert all(row["state"] == "queued" for row in left)
    assert "mail_sent" not in kinds(lived)
    assert healthy(lived)


def test_deleted_leads_are_erased(lived: Api) -> None:
    lived.server.clock.forward(days=20)
    assert going(lived, deleted_leads=10).deleted_leads == 1
    keep(lived, deleted_leads=10)
    tidy(lived)
    assert not lived.rows(schema.leads, email="lead9@shop.example")
    assert len(lived.rows_of_leads()) == 24
    proof = [row["origin"] for row in lived.rows(schema.events) if row["kind"] == "lead_erased"]
    assert sorted(proof) == ["retention", "tests"]
    [noted] = lived.rows(schema.audit_log)
    assert (noted["who"], noted["action"]) == ("retention", "Erased a lead")
    assert healthy(lived)


def test_it_goes_on_slice_by_slice_beside_another_account(lived: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    other = aged(live(lived.server))
    monkeypatch.setattr(retention, "SLICE", 7)
    lived.server.clock.forward(days=30)
    before = kinds(other)
    expected = going(lived, events=10, mails=10)
    keep(lived, events=10, mails=10)
    assert tidy(lived) > len(lived.rows(schema.events)) // 7
    assert not going(lived, events=10, mails=10).anything
    assert expected.anything
    assert kinds(other) == before, "who keeps everything loses nothing"
    assert healthy(lived)


def test_the_command_line_tells_what_would_go(
    lived: Api, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", lived.server.database.url)
    told = cartwheel("retention", "--account", name_of(lived), "--json").json
    assert told["events"] == {"days": 0, "would_go": 0}
    tried = cartwheel("retention", "--account", name_of(lived), "--deleted-leads", "1", "--json").json
    assert tried["deleted_leads"]["days"] == 1
    assert "mails" in cartwheel("retention", "--account", name_of(lived)).out
