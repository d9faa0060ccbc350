import json
from typing import Any

import pytest

from cartwheel.data import schema
from cartwheel.work.housekeeping import Housekeeping
from harness import Api, new_api

ADA = "ada@shop.example"


def repeat(api: Api, key: str, points: int = 5) -> dict[str, Any]:
    action = {"cmd": "give_points_to_lead", "points": points}
    body = json.dumps({**api.credentials, "lead": {"email": ADA}, "actions": [action]})
    answer = api.post(body.encode(), Idempotency_Key=key).json()
    assert isinstance(answer, dict)
    return answer


def test_a_repeated_call_gets_the_stored_answer_and_does_nothing(api: Api) -> None:
    api.create(ADA)
    assert repeat(api, "order-1")["type"] == "105"
    assert repeat(api, "order-1")["type"] == "105"
    assert repeat(api, "order-2")["type"] == "105"
    assert api.lead(ADA)["score"] == 10


def test_creating_again_under_the_same_key_is_the_same_creation(api: Api) -> None:
    body = json.dumps({**api.credentials, "lead": {"email": ADA}, "actions": [{"cmd": "create_lead"}]}).encode()
    first, second = (api.post(body, Idempotency_Key="sign-up").text for _ in range(2))
    assert first == second
    assert '"Lead created"' in first


def test_a_key_with_another_body_is_an_error(api: Api) -> None:
    api.create(ADA)
    repeat(api, "order-1")
    message = "Idempotency-Key was used before with another request. Nothing done"
    assert repeat(api, "order-1", points=6) == {"status": "Error", "message": message, "type": "254"}
    assert api.lead(ADA)["score"] == 5


def test_keys_of_different_accounts_have_nothing_to_do_with_each_other(api: Api, stranger: Api) -> None:
    for each in (api, stranger):
        each.create(ADA)
        repeat(each, "order-1")
        assert each.lead(ADA)["score"] == 5


def test_a_refused_call_can_be_sent_again_under_its_key(api: Api) -> None:
    assert repeat(api, "order-1")["message"] == "No lead found"
    api.create(ADA)
    assert repeat(api, "order-1")["type"] == "105"


def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    server = api.server
    worker = Housekeeping(server.database, server.application.batches, clock=server.clock)
    api.create(ADA)
    repeat(api, "order-1")
    server.clock.forward(hours=24)
    server.run(worker.round)
    assert len(api.rows(schema.idempotent_calls)) == 1
    server.clock.forward(seconds=1)
    server.run(worker.round)
    assert api.rows(schema.idempotent_calls) == []
    repeat(api, "order-1")
    assert api.lead(ADA)["score"] == 10


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "é"])
def test_an_unusable_key_is_refused(api: Api, key: str) -> None:
    api.create(ADA)
    action = {"cmd": "give_points_to_lead", "points": 1}
    body = json.dumps({**api.credentials, "lead": {"email": ADA}, "actions": [action]}).encode()
    answer = api.server.http.post("/api", content=body, headers=[(b"Idempotency-Key", key.encode())]).json()
    assert answer["message"] == "Idempotency-Key has to be 1 to 255 visible ASCII characters. Nothing done"
    assert api.lead(ADA)["score"] == 0


def test_two_apps_of_an_account_may_use_the_same_key(api: Api) -> None:
    other = new_api(api.server)
    api.create(ADA)
    repeat(api, "order-1")
    other.api_key = api.api_key
    repeat(other, "order-1")
    assert api.lead(ADA)["score"] == 10
