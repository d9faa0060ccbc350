"""Schemathesis reads `/openapi.json` and tries what it allows, and what it does not: no answer may contradict it."""

import os
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from restkit import caller, prepare
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from harness import Api

TRIES = int(os.environ.get("SCHEMATHESIS_TRIES", "2"))
"""Of each operation and kind; in the suite just so many that it stays quick."""

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

TRYING = settings(
    max_examples=TRIES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_answer_contradicts_the_document(api: Api, mode: GenerationMode) -> None:
    if api.server.database.name == "postgresql":
        pytest.skip("what is sent and answered is the same")
    prepare(api)
    headers = {"Authorization": f"Bearer {caller(api).token}"}
    document = api.server.http.get("/openapi.json").json()
    for methods in document["paths"].values():
        for described in methods.values():
            described.pop("security")  # it is shown always: what happens without it, others test
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(allow_x00=False)
    operations = [operation for result in schema.get_all_operations() if (operation := cast("Any", result).ok())]
    assert len(operations) > 20
    for operation in operations:
        try_operation(operation, mode, api.server.url, headers)


def try_operation(operation: Any, mode: GenerationMode, url: str, headers: dict[str, str]) -> None:
    ours = operation.path.startswith("/v1")
    strict: list[Any] = [negative_data_rejection] if ours and mode is GenerationMode.NEGATIVE else []

    @TRYING
    @given(case=operation.as_strategy(generation_mode=mode))
    def try_it(case: Any) -> None:
        answer = case.call(base_url=url, headers=headers if ours else {})
        too_large = answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE  # a refusal that it does not know
        case.validate_response(answer, checks=CHECKS + ([] if too_large else strict))

    with suppress(Unsatisfiable):  # of an address that takes nothing, there is nothing wrong to send
        try_it()
