"""The part of an account file that says who is told what happens."""

from collections.abc import Iterator, Mapping, Sequence

from cartwheel.accountfiles.fileparts import WebhookPart
from cartwheel.accounts import LONGEST_NAME, Account, App, name_key
from cartwheel.data import hookstore
from cartwheel.errors import BadAccountFile
from cartwheel.hooks.outbound import OUTBOUND, REACHES_SCORE, Endpoint, wrong_secret, wrong_url


def name_of(part: WebhookPart) -> str:
    """What it is found by."""
    return part.name or part.url[:LONGEST_NAME].strip()


def check(part: WebhookPart) -> None:
    """What can be told without the account. Raises `BadAccountFile`."""
    place = f"webhook {name_of(part)}"
    if trouble := wrong_url(part.url):
        raise BadAccountFile(f"{place}: url: {trouble}")
    for action in [*part.events, *(part.only if isinstance(part.only, dict) else ())]:
        if action not in OUTBOUND:
            raise BadAccountFile(f"{place}: there is no event {action}; there are {', '.join(OUTBOUND)}")
    if (REACHES_SCORE in part.events) is not (part.score > 0):
        raise BadAccountFile(f"{place}: `{REACHES_SCORE}` and `score` go together")
    if part.secret is not None and (trouble := wrong_secret(part.secret)):
        raise BadAccountFile(f"{place}: secret: {trouble}")


def endpoint(part: WebhookPart, account: Account, apps: Sequence[App]) -> Endpoint:
    """As the file has it, in this account. Raises `BadAccountFile` for names that it does not have."""
    return Endpoint(
        0,
        name_of(part),
        part.url,
        part.enabled,
        part.secret or hookstore.new_secret(),
        {action: _only(part, action, account) for action in part.events},
        part.score,
        part.numbers_as_strings,
        tuple(_origin(part, name, apps) for name in part.not_from),
    )


def _only(part: WebhookPart, action: str, account: Account) -> int | None:
    row = OUTBOUND[action]
    name = part.only.get(action) if isinstance(part.only, dict) else part.only
    if name is None or not row.narrows:
        return None
    for number, known in _names(account, row.about).items():
        if name_key(known) == name_key(name):
            return number
    raise BadAccountFile(f"webhook {name_of(part)}: only: there is no {row.about} {name}")


def _names(account: Account, about: str) -> Mapping[int, str]:
    return {"tag": account.tag_names, "list": account.list_names, "sequence": account.sequence_names}[about]


def _origin(part: WebhookPart, name: str, apps: Sequence[App]) -> str:
    for app in apps:
        if name_key(app.name) == name_key(name):
            return app.origin
    raise BadAccountFile(f"webhook {name_of(part)}: not_from: there is no app {name}")


def parts(account: Account, apps: Sequence[App]) -> Iterator[WebhookPart]:
    """The account's webhooks as a file has them. What is about something that was deleted, is left out."""
    called = {app.origin: app.name for app in apps}
    for entry in account.hooks:
        kept = {
            action: "" if number is None else _names(account, OUTBOUND[action].about).get(number)
            for action, number in entry.events.items()
        }
        events = [action for action, name in kept.items() if name is not None]
        if events:
            yield WebhookPart(
                url=entry.url,
                events=events,
                name=entry.name,
                only={action: name for action, name in kept.items() if name} or None,
                score=entry.score if REACHES_SCORE in events else 0,
                enabled=entry.enabled,
                numbers_as_strings=entry.numbers_as_strings,
                not_from=[called[origin] for origin in entry.not_from if origin in called],
                secret=entry.secret,
            )
