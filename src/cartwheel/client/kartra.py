"""A client of Kartra's API: the same calls go to Cartwheel and to Kartra itself, by base URL and credentials."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec

from cartwheel.api import wire
from cartwheel.client.transport import Caller, Transport
from cartwheel.client.trouble import KartraError, NoAnswer

_NOBODY = "No lead found"
_SUCCESS = "Success"


class KartraClient(Caller):
    """`url` is the base URL, such as https://cartwheel.example or https://app.kartra.com.

    A call that got no answer is made again if that is harmless. With `keys`, which Cartwheel knows and Kartra does not,
    every call is. A `lead` is its fields, with `id` or `email` among them.
    """

    def __init__(
        self,
        url: str,
        *,
        app_id: str,
        api_key: str,
        api_password: str,
        keys: bool = False,
        timeout_s: float = 30,
        tries: int = 4,
        **pacing: Any,
    ) -> None:
        """`pacing` is what else `Transport` takes: when a call is in turn, and how pauses are made."""
        base = url.rstrip("/").removesuffix("/api")
        self._transport = Transport(base, {}, timeout_s=timeout_s, tries=tries, **pacing)
        self._credentials = {"app_id": app_id, "api_key": api_key, "api_password": api_password}
        self._keys = keys

    # -- any call --

    def call(
        self,
        *actions: Mapping[str, Any],
        lead: Mapping[str, Any] = {},
        get_lead: Mapping[str, str | int] = {},
        safe: bool = False,
    ) -> dict[str, Any]:
        """The answer as it is; each action has its `cmd`. Raises `KartraError` if the call was refused as a whole."""
        parts: dict[str, Any] = dict(self._credentials)
        parts |= {"lead": lead} if lead else {}
        parts |= {"get_lead": get_lead} if get_lead else {}
        parts |= {"actions": actions} if actions else {}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self._keys:
            headers["Idempotency-Key"] = uuid.uuid4().hex
        body = _encoded(_flat("", parts))
        answer = self._transport.send(
            "POST", "/api", safe=safe or self._keys, body=body, headers=headers, readable=_is_whole
        )
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise NoAnswer("too many calls, also after waiting", done=False)
        told = _read(answer) if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else None
        if told is None:
            raise NoAnswer(f"what answers with {answer.status_code} is not Kartra's API", done=None)
        if told.get("status") != _SUCCESS and not told.get("actions"):
            raise _error(told)
        return told

    def act(self, lead: Mapping[str, Any], cmd: str, *, safe: bool = False, **parameters: Any) -> Mapping[str, Any]:
        """One action on a lead, and what it was answered. Raises `KartraError`."""
        told = self.call({"cmd": cmd, **parameters}, lead=lead, safe=safe)
        element = _element(told, cmd)
        if element.get("status") != _SUCCESS:
            raise _error(element, cmd)
        return element

    # -- leads --

    def create_lead(self, email: str, **fields: Any) -> str:
        """Returns its id. Raises `KartraError`, also if there is one already."""
        return _id(self.act({"email": email, **fields}, "create_lead"))

    def edit_lead(self, lead: Mapping[str, Any]) -> str:
        """Change the fields that are in `lead`; returns its id."""
        return _id(self.act(lead, "edit_lead", safe="new_email" not in lead))

    def search_lead(self, lead: Mapping[str, Any]) -> str | None:
        """Its id; None if there is none."""
        try:
            return _id(self.act(lead, "search_lead", safe=True))
        except KartraError as error:
            if _NOBODY in error.message:
                return None
            raise

    def get_lead(self, *, email: str = "", lead_id: str | int = "") -> dict[str, Any] | None:
        """Everything about a lead; None if there is none."""
        who: dict[str, str | int] = {"id": lead_id} if lead_id else {"email": email}
        try:
            told = self.call(get_lead=who, safe=True)
        except KartraError as error:
            if _NOBODY in error.message:
                return None
            raise
        return dict(told["lead_details"])

    def assign_tag(self, lead: Mapping[str, Any], tag_name: str) -> None:
        self.act(lead, "assign_tag", tag_name=tag_name, safe=True)

    def unassign_tag(self, lead: Mapping[str, Any], tag_name: str) -> None:
        self.act(lead, "unassign_tag", tag_name=tag_name, safe=True)

    def subscribe_lead_to_list(self, lead: Mapping[str, Any], list_name: str) -> None:
        self.act(lead, "subscribe_lead_to_list", list_name=list_name, safe=True)

    def unsubscribe_lead_from_list(self, lead: Mapping[str, Any], list_name: str) -> None:
        self.act(lead, "unsubscribe_lead_from_list", list_name=list_name, safe=True)

    def give_points_to_lead(self, lead: Mapping[str, Any], points: int, expiration: int = 0) -> None:
        """After `expiration` days they are taken back; 0 for never."""
        self.act(lead, "give_points_to_lead", points=points, expiration=expiration)

    def remove_points_from_lead(self, lead: Mapping[str, Any], points: int) -> None:
        self.act(lead, "remove_points_from_lead", points=points)

    def subscribe_lead_to_sequence_at_step(self, lead: Mapping[str, Any], sequence_name: str, step: str | int) -> None:
        self.act(lead, "subscribe_lead_to_sequence_at_step", sequence_name=sequence_name, step=step, safe=True)

    def unsubscribe_lead_from_sequence(self, lead: Mapping[str, Any], sequence_name: str) -> None:
        self.act(lead, "unsubscribe_lead_from_sequence", sequence_name=sequence_name, safe=True)

    # -- the account --

    def retrieve_account_lists(self) -> list[str]:
        return self._retrieve("retrieve_account_lists", "account_lists")

    def retrieve_account_tags(self) -> list[str]:
        return self._retrieve("retrieve_account_tags", "account_tags")

    def retrieve_account_sequences(self) -> list[str]:
        return self._retrieve("retrieve_account_sequences", "account_sequences")

    def retrieve_custom_fields(self) -> list[dict[str, Any]]:
        return self._retrieve("retrieve_custom_fields", "custom_fields")

    def create_custom_field(self, identifier: str, kind: str, options: Sequence[str] = ()) -> None:
        """The choice types need two options or more."""
        parameters: dict[str, Any] = {"custom_field_identifier": identifier, "custom_field_type": kind}
        if options:
            parameters["custom_field_options"] = [{"option_name": name} for name in options]
        self.act({}, "create_custom_field", **parameters)

    def _retrieve(self, cmd: str, name: str) -> list[Any]:
        told = self.call({"cmd": cmd}, safe=True)
        return list(told.get(name) or _element(told, cmd).get(name) or [])


def _read(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        told = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return None
    return told if isinstance(told, dict) else None


def _is_whole(answer: httpx.Response) -> bool:
    """Whether all of it came, and does not say that the server failed."""
    told = _read(answer)
    return told is not None and told.get("type") != wire.SERVER_ERROR.type


def _element(told: dict[str, Any], cmd: str) -> Mapping[str, Any]:
    """What is told of the command: in `actions`, or flat."""
    for action in told.get("actions") or []:
        if cmd in action:
            found: Mapping[str, Any] = action[cmd]
            return found
    return told


def _id(element: Mapping[str, Any]) -> str:
    return str(element["lead_details"]["id"])


def _error(told: Mapping[str, Any], cmd: str = "") -> KartraError:
    return KartraError(str(told.get("message", "")), str(told.get("type", "")), cmd)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """As PHP's `http_build_query` names the parts of arrays: `lead[email]`, `actions[0][cmd]`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}[{key}]" if name else key, inner)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _flat(f"{name}[{number}]", inner)
    else:
        yield name, "" if value is None else str(value)


def _encoded(pairs: Iterator[tuple[str, str]]) -> bytes:
    return urlencode(list(pairs)).encode()
