"""The pages of the live table that are measured: once as Stet is asked, once as SQL for the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node import ORIGINAL

PAGE_ROWS = 200


@dataclass(frozen=True)
class View:
    """Which rows in which order."""

    name: str
    sort: tuple[tuple[str, bool], ...] = ()
    """Columns, and whether they descend."""
    contains: tuple[str, str] | None = None
    """A column and what its text has to contain, whatever the case."""
    counted: bool = False
    """Whether all rows of the view have to be counted before the page is given."""

    def request(self, offset: int) -> dict[str, Any]:
        """The page as Stet is asked for it."""
        filters = [{"column": self.contains[0], "op": "contains", "value": self.contains[1]}] if self.contains else []
        sort = [{"column": column, "descending": descending} for column, descending in self.sort]
        count = "exact" if self.counted else "later"
        return {"offset": offset, "limit": PAGE_ROWS, "sort": sort, "filters": filters, "count": count}

    def sql(self, offset: int, table: str = ORIGINAL) -> str:
        """The page as a query."""
        where = f" WHERE {self.contains[0]} ILIKE '%{self.contains[1]}%'" if self.contains else ""
        order = ", ".join(f"{column}{' DESC' if descending else ''}" for column, descending in self.sort)
        what = f"(SELECT count(*) FROM {table}{where}) AS total, *" if self.counted else "*"
        return f"SELECT {what} FROM {table}{where}{f' ORDER BY {order}' if order else ''} LIMIT {PAGE_ROWS} OFFSET {offset}"


UNSORTED = View("unsorted")
BY_NUMBER = View("sorted by a number that is edited", (("cost", False),))
BY_TEXT = View("sorted by a text of which each is another", (("remark", False),))
FILTERED = View("remark contains a text", (), ("remark", "99 OF flight 4"))
FILTERED_COUNTED = View("remark contains another text, all rows counted", (), ("remark", "98 OF flight 5"), counted=True)
FILTERED_SORTED = View("species contains a text, sorted by a number", (("cost", True),), ("species", "ies 7"))
"""This one stays open while cells are edited. About one in seven rows is in it."""


def offsets(rows: int, place: str, count: int) -> list[int]:
    """Where the pages begin: different ones, so that none is answered from the memory of the last."""
    start = {"start": 0, "middle": rows // 2}[place]
    return [start + turn * PAGE_ROWS for turn in range(count)]
