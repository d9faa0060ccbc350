"""Callers of /v1 for the tests, and an account in which every operation's example can run."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import httpx

from cartwheel.accountfiles import tokens
from cartwheel.data import catalog
from cartwheel.rest.table import Operation
from harness import Api


@dataclass
class Caller:
    """A token of an account."""

    api: Api
    token: str

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **parts.pop("headers", {})}
        answer = self.api.server.http.request(method, path, headers=headers, **parts)
        assert answer.status_code != 500, answer.text
        return answer

    def example(self, operation: Operation, *, key: str = "", **changes: Any) -> httpx.Response:
        """The operation as its example has it, but for what is changed: parameters, and `body`."""
        values = {**operation.example, **changes}
        body = values.pop("body", None)
        path = operation.path
        for name, param in operation.params.items():
            if param.in_path:
                path = path.replace(f"{{{name}}}", str(values.pop(name)))
        headers = {"Idempotency-Key": key} if key else {}
        return self.request(operation.method, path, params=values, json=body, headers=headers)


def caller(api: Api, scopes: Collection[str] = tokens.SCOPES, rate_limit: int = 0, **values: Any) -> Caller:
    with api.server.database.read() as connection:
        account = catalog.of(connection, api.account_id).accounts[api.account_id]
    clock = api.server.clock()
    _, secret = tokens.make(api.server.database, account, "tests", scopes, clock, rate_limit=rate_limit, **values)
    return Caller(api, secret)


def prepare(api: Api) -> None:
    """What the examples speak of."""
    for name in ("ada", "grace"):
        api.create(f"{name}@shop.example", first_name=name.title())
    stop = {"email": "stop@shop.example", "details": "said so"}
    caller(api).request("POST", "/v1/suppressions", json=stop)
