"""What Kartra tells of a lead: nobody knows what it may be one day, and no answer may break a move."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.accounts import Account, CustomField, FieldType, MailingList, Option, Sequence, Tag
from cartwheel.api import wire
from cartwheel.leads.importing import Stated
from cartwheel.leads.leadparts import Gdpr, Source, SuppressionReason
from cartwheel.moving.answers import AnswerReader, MovePlan, Told

OPTIONS = (Option(5, "Gold"), Option(6, "Silver"), Option(7, "Gold"))


def account(*, gdpr: bool = False) -> Account:
    fields = [
        CustomField(1, "plan", FieldType.DROP_DOWN, OPTIONS),
        CustomField(2, "hobbies", FieldType.CHECKBOX, OPTIONS),
        CustomField(3, "size", FieldType.INPUT_FIELD),
    ]
    return Account(
        1,
        "Shop",
        ZoneInfo("UTC"),
        gdpr=gdpr,
        active=True,
        lists={"news": MailingList(1, "News", ""), "offers": MailingList(2, "Offers", "")},
        tags={"vip": Tag(1, "VIP")},
        sequences={"welcome": Sequence(4, "Welcome", boxes=("1", "A2"))},
        fields={field.identifier: field for field in fields},
    )


def read(details: Mapping[str, Any], *, gdpr: bool = False, start: bool = False) -> tuple[Told, AnswerReader]:
    plan = MovePlan("https://app.kartra.com", "", "America/New_York", start_sequences=start)
    reader = AnswerReader(account(gdpr=gdpr), plan, (9,))
    return reader.read("ada@shop.example", details), reader


def test_everything_that_has_a_place_here_is_taken() -> None:
    told, reader = read(
        {
            "email": "Ada@Shop.example",
            "first_name": "Ada\0",
            "date_joined": "2024-07-01 12:00:00",
            "score": "-3",
            "source": "double-optin",
            "source_id": "77",
            "blacklisted": "1",
            "gdpr_lead_status": "2",
            "gdpr_lead_status_date": "2024-01-01 00:00:00",
            "gdpr_lead_status_ip": "192.0.2.1",
            "gdpr_lead_communications": 1,
            "tags": {"0": {"tag_name": "vip "}, "1": {"tag_name": "New"}},
            "lists": [{"list_name": "NEWS", "active": 1}, {"list_name": "Offers", "active": "0"}],
            "memberships": [{"name": "Club"}],
            "surveys": [1],
        }
    )
    wish = told.wish
    assert (wish.email, wish.profile) == ("ada@shop.example", {"first_name": "Ada\N{REPLACEMENT CHARACTER}"})
    assert wish.joined == datetime(2024, 7, 1, 16, tzinfo=UTC)
    midnight = datetime(2024, 1, 1, 5, tzinfo=UTC)
    assert wish.joint == ((9, 1), (1,), Stated(Gdpr.ACCEPTED, True, midnight, "192.0.2.1"), -3, None)
    assert wish.blocked is SuppressionReason.DO_NOT_CONTACT
    assert wish.elsewhere is not None
    assert (wish.elsewhere.source, wish.elsewhere.source_id, wish.elsewhere.left) == (Source.DOUBLE_OPTIN, 77, (2,))
    assert list(reader.missing) == [("tags", "New")]
    assert [loss.partition(",")[0] for loss in told.losses] == ["blocked", "memberships", "surveys"]


def chosen(*options: tuple[int, str]) -> list[dict[str, Any]]:
    return [{"option_id": number, "option_value": name} for number, name in options]


@pytest.mark.parametrize(
    ("identifier", "sent", "kept"),
    [
        ("plan", chosen((7, "gold ")), (7,)),
        ("plan", chosen((99, "Gold")), (5,)),
        ("plan", "Silver", (6,)),
        ("plan", chosen((5, "Gold"), (6, "Silver")), None),
        ("plan", chosen((5, "Copper")), None),
        ("hobbies", chosen((6, "Silver"), (5, "Gold")), (5, 6)),
        ("size", chosen((6, "Silver"), (5, "Gold")), "Silver; Gold"),
        ("size", 42, "42"),
        ("nothing", "x", None),
    ],
)
def test_values_of_custom_fields_fit_the_field_that_is_here(identifier: str, sent: object, kept: object) -> None:
    told, _ = read({"custom_fields": [{"field_identifier": identifier, "field_value": sent}]})
    assert list(told.wish.custom.values()) == ([] if kept is None else [kept])
    lost = f"a value of the custom field {identifier}, which does not fit here"
    assert told.losses == ([lost] if kept is None else [])


def test_who_was_never_asked_has_not_agreed_where_consent_counts() -> None:
    told, _ = read({"gdpr_lead_status": 0}, gdpr=True)
    assert told.wish.joint.consent is None
    assert told.losses[0].startswith("never asked for consent")
    assert read({"gdpr_lead_status": 0})[0].losses == []
    assert "not known: 9" in read({"gdpr_lead_status": 9})[0].losses[0]


def test_only_who_is_active_at_a_step_that_is_here_goes_on() -> None:
    def place(name: str, step: str, status: str) -> dict[str, str]:
        return {"sequence_name": name, "step": step, "status": status}

    sent = [place("welcome", "A2", "active"), place("Welcome", "9", "active"), place("Welcome", "1", "completed")]
    told, _ = read({"sequences": sent}, start=True)
    assert told.wish.elsewhere is not None
    assert told.wish.elsewhere.starts == ((4, "A2"),)
    assert told.losses == ["is in the sequence Welcome at step 9, which is not here"]
    told, _ = read({"sequences": sent})
    assert told.wish.elsewhere is not None
    assert (told.wish.elsewhere.starts, told.losses) == ((), [])


_TEXT = st.text("a09-; \0\ud800ä", max_size=12)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_INNER = ["tag_name", "list_name", "active", "sequence_name", "step", "status", "field_identifier", "field_value"]
_ENTRIES = st.lists(st.dictionaries(st.sampled_from(_INNER), _JSON | st.just("plan") | st.just("vip"), max_size=4))
_ANSWERS = st.dictionaries(st.sampled_from(wire.LeadDetails.__struct_fields__), _JSON | _ENTRIES, max_size=8)


@settings(deadline=None)
@given(_ANSWERS, st.booleans(), st.booleans())
def test_no_answer_breaks_the_move(details: dict[str, Any], gdpr: bool, start: bool) -> None:  # noqa: FBT001 - given
    told, _ = read(details, gdpr=gdpr, start=start)
    assert told.wish.email
    assert all("\0" not in text for text in told.wish.profile.values())
