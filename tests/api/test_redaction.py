"""What is kept of a call tells no credential, however it was written; and it is found out cheaply."""

import pytest

from cartwheel.api import redaction
from cartwheel.api.bodies import Limits, read_body

KEY, PASSWORD = "the key: 100% & more", "pass \N{SNOWMAN} word/+"
LIMITS = Limits(1 << 20, 10, 1000)


@pytest.mark.parametrize(
    "name",
    ["api_key", "api%5Fkey", "%61pi_key", "API_KEY", "+api_key+", "api_key%5B%5D", "api_key[0]", "api_key%5b0%5d"],
)
def test_a_form_is_hidden_by_the_names_of_its_values_however_they_are_escaped(name: str) -> None:
    body = f"lead%5Bemail%5D=a%40b.example&{name}=one-two-three&actions%5B0%5D%5Bcmd%5D=create_lead"
    assert redaction.redact_form(body) == body.replace("one-two-three", redaction.HIDDEN)


def test_a_value_that_is_no_credential_stays() -> None:
    body = "lead%5Bapi_key%5D=12345678&lead%5Bfirst_name%5D=Ada&app_ids=2"
    assert redaction.redact_form(body) == body


@pytest.mark.parametrize("written", redaction.spellings(frozenset({KEY, PASSWORD})))
def test_a_credential_is_hidden_wherever_it_stands(written: str) -> None:
    spelled = redaction.spellings(frozenset({KEY, PASSWORD}))
    assert redaction.redact_values(f"before {written} after", spelled) == f"before {redaction.HIDDEN} after"


def test_credentials_are_found_in_lists_and_objects() -> None:
    body = b'{"api_key": [{"a": "in a list "}], "lead": {"API_Password": 123456789, "city": "Springfield"}}'
    tree = read_body(body, "application/json", LIMITS)
    assert redaction.secrets_in(tree) == {"in a list ", "in a list", "123456789"}


@pytest.mark.parametrize("name", ["api_pasword", "password", "apikey", "API-Key", "pwd", "secret", "token"])
def test_a_credential_with_a_mistyped_name_is_hidden(name: str) -> None:
    body = f'{{"{name}": "one-two-three", "lead": {{"city": "Springfield", "key": "four"}}}}'.encode()
    tree = read_body(body, "application/json", LIMITS)
    spelled = redaction.spellings(redaction.secrets_in(tree))
    assert "one-two" not in redaction.redact_body(body, spelled)
    assert "one-two" not in redaction.as_text(tree, spelled)
    assert '"four"' in redaction.as_text(tree, spelled)
    assert redaction.redact_form(f"{name}=one&lead%5Bkey%5D=four") == f"{name}={redaction.HIDDEN}&lead%5Bkey%5D=four"
