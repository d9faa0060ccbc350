"""The reference page of webhooks, from the table of outbound events."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cartwheel.accounts import Account, CustomField, FieldType, MailingList, Option, Sequence, Tag
from cartwheel.data.hookstore import DELIVERED_KEPT, GIVEN_UP_AFTER, KEPT
from cartwheel.hooks import envelope
from cartwheel.hooks.outbound import OUTBOUND, REACHES_SCORE, Endpoint
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Consent, Gdpr
from cartwheel.reference.tables import code, json_block, table

_AT = datetime(2026, 3, 1, 14, 15, tzinfo=UTC)
_ACCOUNT = Account(
    1,
    "Example",
    ZoneInfo("America/New_York"),
    gdpr=False,
    active=True,
    lists={"newsletter": MailingList(3, "Newsletter", "")},
    tags={"trial user": Tag(12, "Trial user")},
    sequences={"welcome": Sequence(5, "Welcome")},
    fields={"plan": CustomField(3, "plan", FieldType.DROP_DOWN, (Option(9, "gold"),))},
)
_ENDPOINT = Endpoint(1, "Example", "https://crm.example/hook", True, "", dict.fromkeys(OUTBOUND), 100)
_LEAD = Lead(
    account_id=1,
    id=4174,
    email="ada@shop.example",
    created_at=_AT,
    score=5,
    profile={"first_name": "Ada", "last_name": "Bell", "phone_country_code": "+49", "country": "Germany"},
    custom={3: (9,)},
    consent=Consent(Gdpr.UNKNOWN),
)


def _details(action: str) -> dict[str, object]:
    read: dict[str, object] = json.loads(envelope.trial_body(_ACCOUNT, _ENDPOINT, action, _AT))["action_details"]
    return read


def webhooks() -> Iterator[str]:
    """The page."""
    yield "# Webhooks"
    yield ""
    yield "What other systems are told. How to set one up is told in [Tell other systems](../how-to/tell-other-systems.md)."
    yield ""
    yield "## Events"
    yield ""
    rows = (
        (code(row.action), row.doc, code(json.dumps(_details(row.action))), row.about or "a score")
        for row in OUTBOUND.values()
    )
    yield from table(["action", "when", "`action_details`", "can be only one"], rows)
    yield f"`{REACHES_SCORE}` needs the number of points, and is told once for each lead."
    yield ""
    yield "## The body"
    yield ""
    yield "A POST with `Content-Type: application/json`. The lead is told as it was when the event happened."
    yield ""
    action = next(iter(OUTBOUND))
    yield from json_block(json.loads(envelope.body(_LEAD, _ACCOUNT, _ENDPOINT, action, _details(action))))
    yield "Times are naive, in the account's zone; absent text is empty. Of the custom fields those are there that the lead has."
    yield ""
    yield "## Headers"
    yield ""
    yield "Those of [Standard Webhooks](https://www.standardwebhooks.com), whose libraries check them in most languages:"
    yield ""
    headers = (
        ("`webhook-id`", "The same for every try of a delivery, and for a replay of it."),
        ("`webhook-timestamp`", "When it was sent, in seconds since 1970."),
        ("`webhook-signature`", "`v1,` and the HMAC-SHA256 of id, time and body with the webhook's secret, in base64."),
    )
    yield from table(["header", "what"], headers)
    yield "## Tries"
    yield ""
    yield "Any 2xx within 10 seconds counts as taken. Otherwise it is tried again after 2 and 10 seconds, 1, 5 and 30 minutes,"
    yield "and 2, 12, 24 and 33 hours; then it is parked. Later events of the same lead wait for it, those of others do not."
    yield f"An endpoint that took nothing for {GIVEN_UP_AFTER.days} days is paused. The log holds what was delivered for"
    yield f"{DELIVERED_KEPT.days} days, and the rest for {KEPT.days}."
    yield ""
