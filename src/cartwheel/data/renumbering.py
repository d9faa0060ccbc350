"""Numbers of one account as another has them: what a moved row speaks of has another number where it goes. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Map = Mapping[int, int]

_SEQUENCE = "sequence:"


@dataclass(frozen=True)
class Numbers:
    """From the numbers there to those here. `leads` is what is added to the number of each lead."""

    lists: Map = field(default_factory=dict)
    tags: Map = field(default_factory=dict)
    fields: Map = field(default_factory=dict)
    options: Map = field(default_factory=dict)
    sequences: Map = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    leads: int = 0

    def renumber(self, table: str, row: Row) -> None:
        """Change the row to what it has to be here."""
        for column, numbers in self._columns.items():
            if column in row:
                row[column] = numbers.get(row[column], 0)
        if table == "leads":
            row["id"] += self.leads
            if row["email"].startswith("erased:"):
                row["email"] = f"erased:{row['id']}"
        elif table == "suppressions" and row["lead"] is not None:
            row["lead"] += self.leads
        elif table == "lead_fields":
            row["value"] = self._value(row["value"])
        elif table == "events":
            row["details"], row["origin"] = self._details(row["details"]), self.origin(row["origin"])

    @property
    def _columns(self) -> Mapping[str, Map]:
        return {"list_id": self.lists, "tag_id": self.tags, "field_id": self.fields, "sequence_id": self.sequences}

    def _value(self, value: str) -> str:
        """Of a custom field: a text, or the options that were chosen."""
        held = json.loads(value)
        if not isinstance(held, list) or all(self.options.get(number) == number for number in held):
            return value
        return json.dumps([self.options.get(number, 0) for number in held])

    def _details(self, details: str) -> str:
        """Of an event; in its own writing if nothing changes."""
        told = json.loads(details)
        changed = dict(told)
        for name, numbers in self._columns.items():
            if name in told:
                changed[name] = numbers.get(told[name], 0)
        if "custom_field_ids" in told:
            changed["custom_field_ids"] = [self.fields.get(number, 0) for number in told["custom_field_ids"]]
        if "lead_id" in told:
            changed["lead_id"] = told["lead_id"] + self.leads
        return details if changed == told else json.dumps(changed, separators=(",", ":"), ensure_ascii=False)

    def origin(self, origin: str) -> str:
        """Who did it. An App or a person that is not here has the number 0."""
        if origin.startswith(_SEQUENCE):
            return f"{_SEQUENCE}{self.sequences.get(int(origin.removeprefix(_SEQUENCE)), 0)}"
        if origin.startswith(("app:", "user:")):
            return self.origins.get(origin, f"{origin.partition(':')[0]}:0")
        return origin
