from typing import Any

import pytest

from cartwheel.data import schema
from cartwheel.work.housekeeping import Housekeeping
from harness import Api

ADA = "ada@shop.example"


def give(api: Api, points: Any, expiration: Any = None) -> Any:
    extra = {} if expiration is None else {"expiration": expiration}
    return api.on(ADA, "give_points_to_lead", points=points, **extra)


def keep_house(api: Api) -> None:
    """One round of the worker, at the time that the test has set."""
    server = api.server
    worker = Housekeeping(server.database, server.application.batches, clock=server.clock)
    server.run(worker.round)


def stored_score(api: Api) -> int:
    [row] = api.rows_of_leads()
    ledger = api.rows(schema.points)
    assert row["score"] == sum(entry["points"] for entry in ledger if entry["reversed_at"] is None)
    return int(row["score"])


def test_the_score_is_the_sum_of_the_ledger_and_may_go_below_zero(api: Api) -> None:
    api.create(ADA)
    give(api, 5)
    give(api, "7")
    assert api.on(ADA, "remove_points_from_lead", points=20)["status"] == "Success"
    assert api.lead(ADA)["score"] == stored_score(api) == -8


@pytest.mark.parametrize(
    "points", ["five", "5.0", 5.5, 1.0, "-1", -1, True, [5], {"a": 5}, "1000000001", "9" * 5000, "٣"]
)
@pytest.mark.parametrize("cmd", ["give_points_to_lead", "remove_points_from_lead"])
def test_what_is_no_number_of_points_is_refused(api: Api, cmd: str, points: Any) -> None:
    api.create(ADA)
    assert api.on(ADA, cmd, points=points)["message"] == "Points is not a number"
    assert api.rows(schema.points) == []


@pytest.mark.parametrize("points", [0, "0", "00", "", "  ", None])
@pytest.mark.parametrize("cmd", ["give_points_to_lead", "remove_points_from_lead"])
def test_no_points_count_as_empty(api: Api, cmd: str, points: Any) -> None:
    api.create(ADA)
    assert api.on(ADA, cmd, points=points)["message"] == "Points cannot be empty"


@pytest.mark.parametrize("expiration", ["soon", "-1", "1.5", [1], "1000001"])
def test_a_bad_expiration_gives_no_points(api: Api, expiration: Any) -> None:
    api.create(ADA)
    answer = give(api, 5, expiration)
    assert (answer["type"], answer["message"]) == ("227", "Expiration is not a number")
    assert api.lead(ADA)["score"] == 0


@pytest.mark.parametrize("expiration", [0, "0", "", " "])
def test_points_without_an_expiration_stay(api: Api, expiration: Any) -> None:
    api.create(ADA)
    give(api, 5, expiration)
    api.server.clock.forward(days=100_000)
    keep_house(api)
    assert api.lead(ADA)["score"] == 5
    api.server.clock.forward(days=-100_000)


def test_each_grant_is_taken_back_once_by_exactly_its_points(api: Api) -> None:
    lead_id = api.create(ADA)
    give(api, 5, 1)
    give(api, 7, "2")
    give(api, 11)
    api.server.clock.forward(days=1, microseconds=-1)
    keep_house(api)
    assert stored_score(api) == 23
    api.server.clock.forward(microseconds=1)
    keep_house(api)
    keep_house(api)
    assert stored_score(api) == 18
    api.server.clock.forward(days=30)  # the server may as well have been down
    keep_house(api)
    assert stored_score(api) == 11
    assert api.events(lead_id)[4:] == [("points_expired", {"points": 5}), ("points_expired", {"points": 7})]


def test_an_answer_is_exact_even_before_the_worker_has_come(api: Api) -> None:
    api.create(ADA)
    give(api, 5, 1)
    api.server.clock.forward(days=1)
    assert api.lead(ADA)["score"] == 0
    assert stored_score(api) == 0
    keep_house(api)
    assert stored_score(api) == 0
