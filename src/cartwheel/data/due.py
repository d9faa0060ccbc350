"""What is due, found inside the transaction that does it."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

from cartwheel.data.lanes import Select

MOST_AT_IT = 8
"""So many processes find something to do at the same time, each beyond what the others have locked."""


class DueLeads(Select):
    """Rows that are due and the leads that they belong to, those waiting longest first, locked unless others have."""

    def __init__(self, table: Any, columns: Sequence[str], due: str, *, most: int) -> None:
        super().__init__(table, columns, by=(due,))
        self._columns = columns
        self._due = due
        self._most = most

    @lru_cache(maxsize=1)  # noqa: B019 - statements are module constants
    def sqlite(self, _count: int) -> str:
        return self._first(f"t.{self._due} <= ?", self._columns, self._most)

    @cached_property
    def postgresql(self) -> bytes:
        """The longest wait first is what the index says: the inner bound keeps the planner from sorting all that is due."""
        due = f"(SELECT max(k.{self._due}) FROM {self.arrays})"
        first = self._first(f"t.{self._due} <= {due}", [*self._columns, self._due], self._most * MOST_AT_IT)
        wanted = ", ".join(f"t.{name}" for name in self._columns)
        lead = "JOIN leads l ON l.account_id = t.account_id AND l.id = t.lead_id"
        order = f"ORDER BY t.{self._due} LIMIT {self._most} FOR NO KEY UPDATE OF l SKIP LOCKED"
        return f"SELECT {wanted} FROM ({first}) t {lead} {order}".encode()

    def _first(self, is_due: str, columns: Sequence[str], most: int) -> str:
        names = ", ".join(f"t.{name}" for name in dict.fromkeys(columns))
        return f"SELECT {names} FROM {self.table.name} t WHERE {is_due} ORDER BY t.{self._due} LIMIT {most}"
