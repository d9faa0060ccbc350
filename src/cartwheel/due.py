"""What is due, found inside the transaction that does it."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

from cartwheel.lanes import Select


class DueLeads(Select):
    """Rows that are due and the leads that they belong to, those waiting longest first, locked unless others have."""

    def __init__(self, table: Any, columns: Sequence[str], due: str, *, most: int, where: str = "") -> None:
        super().__init__(table, columns, by=(due,), where=where)
        self._due = due
        self._most = most

    @lru_cache(maxsize=1)  # noqa: B019 - statements are module constants
    def sqlite(self, _count: int) -> str:
        return f"SELECT {self.wanted} FROM {self.table.name} t WHERE t.{self._due} <= ?{self._end}"

    @cached_property
    def postgresql(self) -> bytes:
        leads = "JOIN leads l ON l.account_id = t.account_id AND l.id = t.lead_id"
        due = f"(SELECT max(k.{self._due}) FROM {self.arrays})"
        where = f"WHERE t.{self._due} <= {due}{self._end} FOR NO KEY UPDATE OF l SKIP LOCKED"
        return f"SELECT {self.wanted} FROM {self.table.name} t {leads} {where}".encode()

    @property
    def _end(self) -> str:
        return f"{self.where} ORDER BY t.{self._due} LIMIT {self._most}"
