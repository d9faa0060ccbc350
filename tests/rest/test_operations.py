"""Every operation of /v1, derived from their table: its example, its scope, strangers, nonsense, dry runs, repeats."""

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from openapi_spec_validator import OpenAPIV31SpecValidator
from restkit import Caller, caller, prepare

from cartwheel.accountfiles import tokens
from cartwheel.data import schema
from cartwheel.data.catalogtables import api_tokens
from cartwheel.people import Right
from cartwheel.rest.table import OPERATIONS, Operation
from cartwheel.rest.upserts import SCOPES
from harness import Api, new_api

ALL = [pytest.param(one, id=one.name) for one in OPERATIONS.values()]

KEPT_ASIDE = {
    api_tokens,
    schema.catalog_version,
    schema.counters,
    schema.api_calls,
    schema.api_keys,
    schema.daily_counts,
}
"""What changes beside: numbers that were taken and not used, and what is noted of earlier calls a little later."""


@pytest.fixture
def own(api: Api) -> Caller:
    prepare(api)
    return caller(api)


def state(api: Api) -> dict[str, Any]:
    """Everything that the account has."""
    with api.server.database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table).filter_by(account_id=api.account_id))))
            for table in schema.metadata.tables.values()
            if "account_id" in table.c and table not in KEPT_ASIDE
        }


def problem(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["type"] == f"urn:cartwheel:problem:{name}"
    assert told["status"] == status
    assert told["detail"]
    assert told["request_id"] == answer.headers["x-request-id"]
    return told


@pytest.mark.parametrize("operation", ALL)
def test_the_example_runs_dry_then_really_then_only_once(own: Caller, operation: Operation) -> None:
    before = state(own.api)
    if operation.writes:
        dry = own.example(operation, dry_run="true", key="once")
        assert dry.status_code in operation.statuses, dry.text
        assert dry.headers["dry-run"] == "true"
        assert state(own.api) == before
    real = own.example(operation, key="once")
    assert real.status_code in operation.statuses, real.text
    assert "idempotency-replayed" not in real.headers
    after = state(own.api)
    assert operation.writes or after == before
    if operation.writes:
        assert (dry.status_code, set(dry.json())) == (real.status_code, set(real.json()))
        again = own.example(operation, key="once")
        assert (again.status_code, again.json()) == (real.status_code, real.json())
        assert state(own.api) == after


def test_each_needs_its_scope(api: Api) -> None:
    prepare(api)
    lacking: dict[Right, Caller] = {scope: caller(api, set(tokens.SCOPES) - {scope}) for scope in tokens.SCOPES}
    before = state(api)
    for operation in OPERATIONS.values():
        told = problem(lacking[operation.scope].example(operation), 403, "scope-missing")
        assert f"{operation.name} needs the scope {operation.scope}" in told["detail"]
    assert state(api) == before


@pytest.mark.parametrize("part", SCOPES)
def test_parts_of_a_lead_need_scopes_of_their_own(api: Api, part: str) -> None:
    less = caller(api, set(tokens.SCOPES) - {SCOPES[part]})
    value: Any = 5 if part == "points" else [{"sequence": "Welcome"}] if part == "start_sequences" else ["Welcome"]
    sent = {"email": "ada@shop.example", part: value}
    problem(less.request("POST", "/v1/leads", json=sent), 403, "scope-missing")
    [item] = less.request("POST", "/v1/leads/bulk", json={"leads": [sent]}).json()["items"]
    assert item["problem"]["type"] == "urn:cartwheel:problem:scope-missing"
    assert api.rows_of_leads() == []


def test_nobody_gets_in_without_a_token(own: Caller) -> None:
    nobody = Caller(own.api, "cwt_nonsense")
    for operation in OPERATIONS.values():
        own.api.server.application.rest.forgive()
        answer = nobody.example(operation)
        problem(answer, 401, "no-token")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_things_of_another_account_are_not_there(own: Caller) -> None:
    empty = caller(new_api(own.api.server, file='[account]\nname = "x"\n[[apps]]\nname = "y"\n'))
    before = state(own.api)
    for operation in OPERATIONS.values():
        if "{" in operation.path:
            problem(empty.example(operation), 404, "not-there")
    assert state(own.api) == before


def test_nonsense_changes_nothing(own: Caller) -> None:
    before = state(own.api)
    json, plain = {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}
    for operation in OPERATIONS.values():
        problem(own.example(operation, nonsense="1"), 422, "invalid")
        if operation.body is None:
            continue
        told = problem(own.example(operation, body={**operation.example["body"], "nonsense": 1}), 422, "invalid")
        assert "nonsense" in told["detail"]
        problem(own.example(operation, body=[]), 422, "invalid")
        path = re.sub(r"\{\w+\}", "1", operation.path)
        problem(own.request(operation.method, path, content=b"{}", headers=plain), 415, "not-json")
        problem(own.request(operation.method, path, content=b"{", headers=json), 400, "not-understood")
    problem(own.request("POST", "/v1/tags", content=b" " * (1 << 21), headers=json), 413, "too-large")
    problem(own.request("POST", "/v1/tags", json={"name": "a\0b"}), 422, "invalid")
    problem(own.request("DELETE", "/v1/tags/1?dry_run=perhaps"), 422, "invalid")
    assert state(own.api) == before


def test_a_key_that_came_with_another_call_is_refused(own: Caller) -> None:
    own.request("POST", "/v1/tags", json={"name": "A"}, headers={"Idempotency-Key": "k"})
    again = own.request("POST", "/v1/tags", json={"name": "B"}, headers={"Idempotency-Key": "k"})
    problem(again, 422, "key-reused")
    lead = own.request("POST", "/v1/leads", json={"email": "b@c.de"}, headers={"Idempotency-Key": "k"})
    problem(lead, 422, "key-reused")


def test_addresses_and_methods_that_are_not_there(own: Caller) -> None:
    problem(own.request("GET", "/v1/nothing"), 404, "no-such-path")
    problem(own.request("GET", "/v1"), 404, "no-such-path")
    problem(own.request("GET", "/v1/lists/one"), 404, "not-there")
    answer = own.request("PUT", "/v1/lists")
    problem(answer, 405, "method-wrong")
    assert answer.headers["allow"] == "GET, POST"


def test_a_token_comes_no_more_often_than_it_may(api: Api) -> None:
    if api.server.database.name == "postgresql":
        pytest.skip("on PostgreSQL the database's clock counts: see the tests of Apps with several processes")
    slow = caller(api, rate_limit=2)
    left = [slow.request("GET", "/v1/tags").headers["ratelimit"] for _ in range(2)]
    assert left == ['"app";r=1;t=1', '"app";r=0;t=1']
    late = slow.request("GET", "/v1/tags")
    problem(late, 429, "too-many")
    assert late.headers["retry-after"] == "1"
    api.server.clock.forward(seconds=1)
    assert slow.request("GET", "/v1/tags").status_code == 200


def test_whoever_guesses_tokens_is_slowed_down_and_nobody_else(own: Caller) -> None:
    own.api.server.application.rest.forgive()
    guesses = [Caller(own.api, f"cwt_{number}").request("GET", "/v1/tags").status_code for number in range(12)]
    assert guesses == [401] * 10 + [429] * 2
    assert own.request("GET", "/v1/tags").status_code == 200
    own.api.server.application.rest.forgive()


def test_a_token_ends_when_it_is_revoked_or_over(api: Api) -> None:
    api.server.application.rest.forgive()
    brief = caller(api, expires_at=api.server.clock() + timedelta(days=1))
    assert brief.request("GET", "/v1/tags").status_code == 200
    api.server.clock.forward(days=1)
    problem(brief.request("GET", "/v1/tags"), 401, "no-token")
    api.server.application.rest.forgive()


def test_the_document_describes_it_all(own: Caller) -> None:
    document = own.api.server.http.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    described = {
        one["operationId"] for path, methods in document["paths"].items() if path != "/api" for one in methods.values()
    }
    assert described == set(OPERATIONS)
