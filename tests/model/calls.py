"""Calls at random: what clients say, rightly and wrongly, and the ways in which they encode it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

EMAILS = ("ada@shop.example", "grace@shop.example", "lin@shop.example", "o'neil+x@sub.shop.example")
NOT_EMAILS = ("nonsense", "@shop.example", "two@at@shop.example", "a b@shop.example", "ada@shop.example\nbcc:x")
OTHER_IDS = ("999999999", "0", "abc", "-1", "1" * 30)


class Nth(NamedTuple):
    """Stands for what is known only when the call is made: the id of the n-th lead, or of the n-th option."""

    kind: str
    n: int


class Missing:
    """Stands for a key that is not sent."""


MISSING = Missing()


def spelled(name: str) -> list[str]:
    """A name the way people write it; twice as it is."""
    return [name, name, name.upper(), name.lower(), f"  {name.title()} "]


def names(*known: str) -> list[Any]:
    """Mostly good, some not."""
    good = [spelling for name in known for spelling in spelled(name)]
    return [*good, "No such thing", "No such thing", "", "   ", None, MISSING, 7, [known[0]]]


LISTS = names("Newsletter", "Product news", "Café Zürich")
TAGS = names("Trial user", "Customer", "Ärzte")
SEQUENCES = names("Welcome", "Welcome", "Second steps")
STEPS = ["1", "1", "2", "A2", "A2", 2, " 2 ", "a2", "Z9", "1-A", "", None, MISSING, ["1"], "é"]
POINTS = [
    1,
    5,
    "7",
    12,
    "13",
    100,
    "250",
    20,
    3,
    1,
    77,
    "9",
    1_000_000_000,
    "007",
    " 8 ",
    0,
    "0",
    "",
    " ",
    None,
    MISSING,
]
POINTS += [-1, "+3", "1.0", 1.5, "many", 1_000_000_001, "9" * 40, ["1"], True]
DAYS = [MISSING, MISSING, 0, "0", "", None, 1, "1", 2, 2, "3", 3, "30", 30, 365, "soon", -1, 1.5, [1]]

IDENTIFIERS = [
    *("colour", "colour", "Colour", "size_2", "size_2", "a-b", "plan", "PLAN"),
    *("Email", "first_name", "no spaces", "ünder", "", "  ", None, MISSING, ["x"]),
]
TYPES = ["drop_down", "drop_down", "radio_button", "checkbox", "input_field", "text_area", "wheel", "", MISSING]
RED, BLUE, NAMELESS = {"option_name": "Red"}, {"option_name": " Blue "}, {"option_name": " "}
OPTIONS: list[Any] = [
    [RED, BLUE],
    [RED, BLUE],
    [BLUE, RED, {"option_name": "Ünü"}],
    [RED],
    [],
    [RED, NAMELESS],
    [RED, NAMELESS],
    [RED, {}],
    "red",
]
OPTIONS += [None, MISSING]

Choices = Mapping[str, Mapping[str, list[Any]]]
"""The values of each parameter of each command."""

PARAMETERS: Choices = {
    "create_lead": {"list_name": ["Newsletter", MISSING]},
    "edit_lead": {"name": ["x", MISSING]},
    "search_lead": {},
    "subscribe_lead_to_list": {"list_name": LISTS},
    "unsubscribe_lead_from_list": {"list_name": LISTS},
    "assign_tag": {"tag_name": TAGS},
    "unassign_tag": {"tag_name": TAGS},
    "give_points_to_lead": {"points": POINTS, "expiration": DAYS},
    "remove_points_from_lead": {"points": POINTS},
    "subscribe_lead_to_sequence_at_step": {"sequence_name": SEQUENCES, "step": STEPS},
    "unsubscribe_lead_from_sequence": {"sequence_name": SEQUENCES},
    "create_custom_field": {
        "custom_field_identifier": IDENTIFIERS,
        "custom_field_type": TYPES,
        "custom_field_options": OPTIONS,
    },
    "retrieve_account_lists": {},
    "retrieve_account_tags": {},
    "retrieve_account_sequences": {},
    "retrieve_custom_fields": {},
    "explode": {"tag_name": TAGS},
    "ASSIGN_TAG": {"tag_name": TAGS},
    "get_lead": {},
}
THERE_AND_BACK: list[Choices] = [
    {
        "subscribe_lead_to_list": {"list_name": ["Newsletter"]},
        "unsubscribe_lead_from_list": {"list_name": ["Newsletter", "newsletter"]},
    },
    {"assign_tag": {"tag_name": ["Customer", "Ärzte"]}, "unassign_tag": {"tag_name": ["Customer"]}},
    {
        "subscribe_lead_to_sequence_at_step": {"sequence_name": ["Welcome", "Second steps"], "step": ["1"]},
        "unsubscribe_lead_from_sequence": {"sequence_name": ["Welcome", "Second steps"]},
    },
    {
        "give_points_to_lead": {"points": [1, "7"], "expiration": [0, 1, "2"]},
        "remove_points_from_lead": {"points": [5]},
    },
    {
        "create_custom_field": {
            "custom_field_identifier": ["colour", "size_2", "a-b", "c", "d"],
            "custom_field_type": ["drop_down", "checkbox"],
            "custom_field_options": OPTIONS,
        }
    },
]
"""What is done, undone and done again, rightly for the most part."""

USUAL = [
    cmd
    for cmd, parameters in PARAMETERS.items()
    for _ in range(4 if cmd[-4:] in {"_tag", "lead", "list", "step", "ence", "ield"} else 1)
]
NO_COMMANDS = [{}, {"cmd": ""}, {"cmd": None, "tag_name": "Customer"}, "assign_tag", None]
"""Elements of `actions` that spoil the whole call."""

TEXTS = ["Ada", "Ada", "Lin", "", " padded ", "😀 שלום عالم", 'O\'Neil & <b>"Söhne"</b>\r\n\t%41+%', 7, 1.5, None]
FIELDS = ("first_name", "last_name", "city", "ip", "lead_preferred_time_zone", "phone_country_code")
VALUES = ["612", 613, "701", ["701"], ["701", 703, " 702 "], ["612"], ["612", "613"], "", [], "blue", ["blue", "701"]]
VALUES += [None, 612.5, {"a": "701"}, Nth("option", 0), Nth("option", 1), [Nth("option", 0), Nth("option", 1)]]
ENTRIES = [
    *({"field_identifier": name, "field_value": value} for name in ("plan", "Interests") for value in VALUES),
    *({"field_identifier": name, "field_value": value} for name in ("shoe_size", " SHOE_SIZE ") for value in TEXTS),
    *({"field_identifier": name, "field_value": value} for name in ("colour", "size_2") for value in VALUES),
    {"field_identifier": "nobody_knows", "field_value": ["x"]},
    {"field_identifier": "plan"},
    {"field_value": "612"},
    "plan",
]
GOOD_ENTRIES = [
    {"field_identifier": "plan", "field_value": "612"},
    {"field_identifier": "PLAN", "field_value": 613},
    {"field_identifier": "plan", "field_value": ""},
    {"field_identifier": "interests", "field_value": ["701", "703"]},
    {"field_identifier": "interests", "field_value": ["703", "702", "703"]},
    {"field_identifier": "shoe_size", "field_value": "43"},
    {"field_identifier": "colour", "field_value": Nth("option", 0)},
    {"field_identifier": "nobody_knows", "field_value": "x"},
]
SET_AND_CLEARED = [
    {"field_identifier": name, "field_value": value}
    for name, values in {"shoe_size": ("43", ""), "plan": ("613", ""), "interests": (["701", "702"], [])}.items()
    for value in values
]


class Dice:
    """Makes calls: the same number makes the same call."""

    def __init__(self, number: int) -> None:
        self._random = Random(number)
        self.one_of = self._random.choice

    def once_in(self, times: int) -> bool:
        return self._random.randrange(times) == 0

    def several(self, make: Callable[[], Any], least: int, most: int) -> list[Any]:
        return [make() for _ in range(self._random.randint(least, most))]

    def call(self) -> dict[str, Any]:
        """A call's parts beside the credentials."""
        kind = self.one_of(["create"] * 4 + ["edit"] * 5 + ["chain"] * 12 + ["get"] * 3 + ["odd"])
        if self.once_in(4):
            return self.there_and_back()
        if kind == "odd":
            return self.odd_call()
        sent: dict[str, Any] = {"lead": self.reference()}
        if kind in {"create", "edit"}:
            sent["lead"] = self.new_email() | sent["lead"] | self.fields()
            sent["actions"] = [{"cmd": f"{kind}_lead"}, *self.several(self.action, 0, 2)]
        elif kind == "chain":
            sent["actions"] = self.several(self.action, 1, 6)
        if kind == "get" or self.once_in(6):
            sent["get_lead"] = self.reference()
        if self.once_in(15):
            del sent["lead"]
        return sent

    def there_and_back(self) -> dict[str, Any]:
        """Something right with a known lead, for which another such call may have made room."""
        lead: dict[str, Any] = {"email": self.one_of(EMAILS[:2])}
        choices = self.one_of([*THERE_AND_BACK, {}, {}])
        if choices:
            return {"lead": lead, "actions": self.several(lambda: self.action(list(choices), choices), 1, 6)}
        return {"lead": lead | {"custom_fields": [self.one_of(SET_AND_CLEARED)]}, "actions": [{"cmd": "edit_lead"}]}

    def odd_call(self) -> dict[str, Any]:
        """A call whose parts are not what they have to be."""
        lead, action = self.reference(), self.action()
        wrong = self.one_of(["text", 5, None, [], [lead], [lead, lead], {"0": lead}, ""])
        spoiled = [action, self.one_of(NO_COMMANDS)]
        wrong_actions = self.one_of([[], {}, None, "text", "", 7, spoiled, spoiled, {"1": action, "0": action}])
        calls: list[dict[str, Any]] = [
            {"lead": wrong, "actions": [action]},
            {"lead": lead, "get_lead": wrong, "actions": [action]},
            {"lead": lead, "actions": wrong_actions},
            {"get_lead": wrong},
            {"get_lead": lead, "actions": wrong_actions},
            {},
        ]
        return self.one_of(calls)

    def action(self, commands: Sequence[str] = USUAL, choices: Choices = PARAMETERS) -> dict[str, Any]:
        cmd = self.one_of(commands)
        sent = {name: self.one_of(values) for name, values in choices[cmd].items()}
        return {"cmd": cmd} | {name: value for name, value in sent.items() if value is not MISSING}

    def reference(self) -> dict[str, Any]:
        """What a lead is looked up by."""
        kind = self.one_of(["email"] * 12 + ["id"] * 8 + ["both"] * 4 + ["bad", "none", "empty"])
        sent: dict[str, Any] = {}
        if kind in {"email", "both"}:
            email = self.one_of(EMAILS)
            sent["email"] = self.one_of([email, email, email.upper(), f" \t{email.title()}\n"])
        if kind in {"id", "both"}:
            sent["id"] = OTHER_IDS[0] if self.once_in(8) else Nth("lead", self._random.randrange(len(EMAILS)))
        if kind == "bad":
            sent = self.one_of([{"email": bad} for bad in NOT_EMAILS] + [{"id": bad} for bad in OTHER_IDS])
        if kind == "empty":
            sent = {"email": " ", "id": self.one_of(["", None, "  "])}
        return sent

    def new_email(self) -> dict[str, Any]:
        if not self.once_in(4):
            return {}
        return {"new_email": self.one_of([*EMAILS, EMAILS[0].upper(), " new@shop.example", "", "bad", None])}

    def fields(self) -> dict[str, Any]:
        """What is written to a lead."""
        sent: dict[str, Any] = {name: self.one_of(TEXTS) for name in FIELDS if self.once_in(3)}
        kind = self.one_of(["nothing", "good", "good", "good", "any", "odd", "flat", "unknown"])
        if kind == "good":
            sent["custom_fields"] = self.several(lambda: self.one_of(GOOD_ENTRIES), 0, 4)
        elif kind == "any":
            sent["custom_fields"] = self.several(lambda: self.one_of(ENTRIES), 1, 2)
        elif kind == "odd":
            sent["custom_fields"] = self.one_of(["", "gold", None, {}, {"0": GOOD_ENTRIES[0]}, 7])
        elif kind == "flat":
            name = self.one_of(["shoe_size", "Shoe_Size", "plan", "colour", "size_2"])
            sent[name] = self.one_of([*TEXTS, ["x"]])
        elif kind == "unknown":
            sent |= {"cmd": "assign_tag", "name": "x", "score": 77, "tags": ["Customer"], "notes": "mine"}
        return sent


# -- encoding --


@dataclass(frozen=True)
class Encoded:
    """A body, and the tree that a server reads in it."""

    body: bytes
    content_type: str
    tree: dict[str, Any]


FORM = "application/x-www-form-urlencoded"
STYLES = ("json", "mislabelled json", "form", "escaped form", "multipart")


def encode(tree: dict[str, Any], style: str) -> Encoded:
    if style.endswith("json"):
        return Encoded(json.dumps(tree).encode(), "application/json" if style == "json" else FORM, tree)
    carried = as_php_carries(tree)
    pairs = list(variables(carried))
    if style == "multipart":
        parts = (
            f'--Frontier7\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in pairs
        )
        body = "".join(parts) + "--Frontier7--\r\n"
        return Encoded(body.encode(), 'multipart/form-data; boundary="Frontier7"', carried)
    if style == "form":
        return Encoded("&".join(f"{key}={quote_plus(value)}" for key, value in pairs).encode(), FORM, carried)
    body = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in reversed(pairs))
    return Encoded(body.encode(), FORM, carried)


def as_php_carries(value: Any) -> Any:
    """What is left of a value in a form: texts in maps. Nothing is left of null and of empty arrays."""
    if isinstance(value, list):
        value = {str(position): entry for position, entry in enumerate(value)}
    if not isinstance(value, Mapping):
        return {True: "1", False: "0"}[value] if isinstance(value, bool) else str(value)
    carried = {key: as_php_carries(entry) for key, entry in value.items() if entry is not None}
    return {key: entry for key, entry in carried.items() if entry != {}}


def variables(tree: Mapping[str, Any], prefix: str = "") -> Sequence[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        name = f"{prefix}[{key}]" if prefix else key
        found += variables(value, name) if isinstance(value, Mapping) else [(name, value)]
    return found


def resolve(value: Any, known: Mapping[str, Sequence[Any]]) -> Any:
    """The value with what each `Nth` stands for."""
    if isinstance(value, Nth):
        found = known[value.kind]
        return found[value.n % len(found)] if found else "424242"
    if isinstance(value, dict):
        return {key: resolve(entry, known) for key, entry in value.items()}
    return [resolve(entry, known) for entry in value] if isinstance(value, list) else value
