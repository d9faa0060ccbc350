"""What happens to those who are under way in a sequence when their owner edits it, or a step takes them out."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from office import Office, states

from cartwheel.accountfiles import accountfile
from cartwheel.leads.mails import MailState
from harness import Api, Server

ADA = "ada@shop.example"
MAIL = {"type": "email", "subject": "Hello", "html": "<p>Hello</p>"}
WAIT = {"type": "wait_until", "condition": {"type": "has_tag", "tag": "Customer"}}


@pytest.fixture
def office(server: Server) -> Iterator[Office]:
    with closing(Office(server)) as running:
        yield running


def publish(api: Api, *steps: dict[str, Any]) -> None:
    name = api.server.application.batches.catalog.accounts[api.account_id].name
    numbered = [{"box": str(number), **step} for number, step in enumerate(steps, 1)]
    file = {"account": {"name": name}, "sequences": [{"name": "Welcome", "steps": numbered}]}
    accountfile.apply(api.server.database, accountfile.read_text(tomli_w.dumps(file), Path()), api.server.clock())


def start(api: Api) -> None:
    api.create(ADA)
    api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")


@pytest.fixture
def api(api: Api) -> Api:
    """Known to the server's catalog."""
    api.call({"cmd": "retrieve_account_tags"})
    return api


def test_who_keeps_to_an_older_version_is_woken_by_what_that_one_waits_for(api: Api, office: Office) -> None:
    publish(api, WAIT, MAIL)
    start(api)
    office.settle()
    publish(api, MAIL)
    api.on(ADA, "assign_tag", tag_name="Customer")
    office.settle()
    assert states(api, ADA) == [("2", MailState.ACCEPTED)]


def test_a_lead_in_another_zone_is_not_kept_until_the_window_of_its_old_one(api: Api, office: Office) -> None:
    publish(api, MAIL | {"window": {"from": "09:00", "to": "10:00", "zone": "lead"}})
    api.create(ADA, lead_preferred_time_zone="Asia/Tokyo")
    api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    office.settle()
    assert states(api, ADA) == []
    api.call({"cmd": "edit_lead"}, lead={"email": ADA, "lead_preferred_time_zone": "America/New_York"})  # it is 09:15
    office.settle()
    assert states(api, ADA) == [("1", MailState.ACCEPTED)]


@pytest.mark.parametrize("last", [{"type": "unsubscribe"}, {"type": "stop_sequence", "sequence": "Welcome"}])
def test_a_mail_goes_out_though_the_next_step_ends_the_sequence(api: Api, office: Office, last: dict[str, Any]) -> None:
    publish(api, MAIL, last)
    start(api)
    office.settle()
    assert states(api, ADA) == [("1", MailState.ACCEPTED)]


def test_a_mail_does_not_go_out_to_who_left_before(api: Api, office: Office) -> None:
    publish(api, MAIL, MAIL | {"delay": "1 day"})
    start(api)
    office.take_along()
    api.on(ADA, "unsubscribe_lead_from_sequence", sequence_name="Welcome")
    office.settle()
    assert states(api, ADA) == [("1", MailState.SUPPRESSED)]


def test_the_first_delay_runs_from_the_subscription_though_no_worker_runs(api: Api, office: Office) -> None:
    publish(api, MAIL | {"delay": "1 day"})
    start(api)
    api.server.clock.forward(hours=24)
    office.settle()
    assert states(api, ADA) == [("1", MailState.ACCEPTED)]
