"""What providers report over HTTP is understood."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hookevents import ADA, MESSAGE_ID, SAYINGS, VERP, sendgrid, ses_bounce
from hooksigning import SENT, SIGNERS, from_sendgrid, from_ses, read, signed
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.bounces.proofs import HookRefused
from cartwheel.bounces.providers import PROVIDERS, echo_headers
from cartwheel.bounces.reading import read_report
from cartwheel.bounces.reports import Kind

quick = settings(max_examples=300, derandomize=True, deadline=None, database=None)
GIVES_RETURN_PATH = {"ses", "mailgun", "sparkpost"}
SENDERS = {**dict.fromkeys(GIVES_RETURN_PATH, VERP.lower()), "postmark": "news@shop.example"}
REMOTE_IDS = {
    "ses": "0102019c-sesid-000000",
    "sendgrid": "Lli-03HcQ5-JLybO9fXsJg",
    "postmark": "883953f4-6105-42a2-a16a-77a8eac79483",
    "brevo": "202603100915.27287306012@smtp-relay.mailin.fr",
    "mailjet": "19421777835146490",
    "sparkpost": "000443ee14578172be22",
}


@pytest.mark.parametrize(("provider", "payload", "kind", "status"), SAYINGS)
def test_what_a_provider_says_is_understood(provider: str, payload: Any, kind: Kind | None, status: str) -> None:
    reports = read(provider, SIGNERS[provider](payload, SENT))
    if kind is None:
        assert reports == []
        return
    (report,) = reports
    assert (report.kind, report.recipient, report.status) == (kind, ADA, status)
    assert (report.original_message_id, report.at) == (MESSAGE_ID, SENT)
    assert report.remote_id == REMOTE_IDS.get(provider, "")
    assert report.return_paths == ((VERP,) if provider in GIVES_RETURN_PATH else ())
    assert report.sender == SENDERS.get(provider, "")


def test_every_provider_is_tested_here() -> None:
    assert PROVIDERS.keys() == SIGNERS.keys() == {provider for provider, *_ in SAYINGS}


@pytest.mark.parametrize("provider", ["sendgrid", "brevo", "mailjet", "sparkpost", "signed"])
def test_many_events_come_in_one_call(provider: str) -> None:
    payloads = [payload for name, payload, kind, _ in SAYINGS if name == provider and kind]
    many = [event for payload in payloads for event in (payload if isinstance(payload, list) else [payload])]
    assert len(read(provider, SIGNERS[provider](many, SENT))) == len(payloads)


def test_one_message_to_many_is_a_report_for_each() -> None:
    payload = ses_bounce("Permanent", "General")
    payload["bounce"]["bouncedRecipients"].append({"emailAddress": "bob@people.example"})
    assert [report.recipient for report in read("ses", from_ses(payload, SENT))] == [ADA, "bob@people.example"]


def test_what_a_server_said_is_kept_in_one_line() -> None:
    said = "550-5.1.1 The email account that you tried to reach\r\n550 5.1.1 does not exist\0"
    (report,) = read("sendgrid", from_sendgrid(sendgrid("bounce", type="bounce", reason=said), SENT))
    assert report.diagnostic == "550-5.1.1 The email account that you tried to reach 550 5.1.1 does not exist"


def test_amazon_names_the_protocol_before_what_was_said() -> None:
    payload = ses_bounce("Permanent", "General", diagnosticCode="smtp; 550 5.1.1 user unknown")
    assert read("ses", from_ses(payload, SENT))[0].diagnostic == "550 5.1.1 user unknown"


@pytest.mark.parametrize("at", [1e308, 10**15, -(10**15), "soon", None, "nan", "-inf", [1]])
def test_a_time_that_cannot_be_is_left_out(at: Any) -> None:
    (report,) = read("sendgrid", from_sendgrid(sendgrid("spamreport", timestamp=at), SENT))
    assert report.at is None


def test_a_mail_can_be_handed_in_as_it_is() -> None:
    raw = (Path(__file__).parent / "reports" / "qmail-unknown-user.eml").read_bytes()
    assert read("signed", signed(raw, SENT, "message/rfc822")) == [read_report(raw)]
    assert read("signed", signed(b"Subject: hello\n\nIt is me.\n", SENT, "Message/RFC822; charset=x")) == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[" * 100_000, b"\xff", b"{}", b"null", b'{"recipient": 5}'),
        b'{"recipient": "a@b.example", "kind": "dead"}',
        b'{"recipient": "a@b.example", "surprise": 1}',
        b'{"recipient": "a@b.example", "at": "yesterday"}',
    ],
)
def test_a_report_in_our_own_words_has_to_be_one(body: bytes) -> None:
    with pytest.raises(HookRefused):
        read("signed", signed(body, SENT))


# -- whatever comes --

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just(10**30)
    | st.just("9" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in it."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in entries for place in places(value, (*path, key)))]


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    tree = deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


@settings(quick, max_examples=1500)
@given(st.data())
def test_whatever_a_provider_says_is_read_or_refused(data: st.DataObject) -> None:
    provider, payload, *_ = data.draw(st.sampled_from(SAYINGS))
    payload = replaced(payload, data.draw(st.sampled_from(places(payload))), data.draw(ODD))
    try:
        reports = read(provider, SIGNERS[provider](payload, SENT))
    except HookRefused as refused:
        assert provider == "signed" or "JSON" in str(refused)  # noqa: PT017 - the others' words are never wrong
        return
    for report in reports:
        assert report.diagnostic.isprintable()
        assert len(report.diagnostic) <= 300
        assert report.recipient == report.recipient.strip().lower()


# -- what goes out for it --


def test_a_message_asks_only_for_what_somebody_gives_back() -> None:
    assert echo_headers([PROVIDERS[name] for name in ["ses", "sendgrid", "mailgun", "signed"]], MESSAGE_ID) == []
    asked = dict(echo_headers([PROVIDERS[name] for name in ["postmark", "sparkpost"]], MESSAGE_ID))
    assert asked.pop("X-PM-Metadata-message_id") == MESSAGE_ID
    assert {name: json.loads(value) for name, value in asked.items()} == {
        "X-MSYS-API": {"metadata": {"message_id": MESSAGE_ID}}
    }
