"""The data: generated originals, the flights file, and edits of them.

Everything is arithmetic on the row's number, so each run and each machine has the same bytes. Run as a program it makes
one of them; the benchmark does so in a process of its own.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import measure

FLIGHTS = Path("/work/shared/data/flights-3m.parquet")

ROW_GROUP_ROWS = 1024 * 1024
"""The default of pyarrow and of Stet."""

VERSION = 1
"""Goes up when other data is made, so that files of an earlier version are not taken for it."""


@dataclass(frozen=True)
class Original:
    """A Parquet file of which cells are edited."""

    name: str
    path: Path
    rows: int
    keys: tuple[str, ...]
    editable: dict[str, str]
    """The columns that are edited, with their types in DuckDB."""

    def editlog(self, edits: int) -> Path:
        """Where its edits are as Parquet."""
        return self.path.with_name(f"{self.path.stem}-edits-{edits}.parquet")


def generated(work: Path, rows: int, keys: int) -> Original:
    """An original of 10 columns: 2 keys, 5 to display, 3 editable."""
    name = f"v{VERSION}-rows-{rows}-keys-{keys}"
    original = Original(
        name,
        work / f"{name}.parquet",
        rows,
        ("id", "site") if keys == 2 else ("id",),
        {"species": "VARCHAR", "cost": "DOUBLE", "flight_date": "DATE"},
    )
    _make_once(original.path, ["generated", str(rows), str(keys)])
    return original


def flights(work: Path) -> Original | None:
    """The flights with their row numbers as the key; nothing if the file is not on this machine."""
    if not FLIGHTS.exists():
        return None
    columns = {"delay": "BIGINT", "origin": "VARCHAR", "destination": "VARCHAR"}
    original = Original("flights", work / f"v{VERSION}-flights.parquet", 3_000_000, ("flight_id",), columns)
    _make_once(original.path, ["flights"])
    return original


def with_edits(original: Original, edits: int) -> Path:
    """The edits of an original as a Parquet editlog.

    A tenth of them edit a cell for the second time, one in fifty empties a cell, and they are spread over all rows: the
    worst case for a build that would like to leave something untouched."""
    path = original.editlog(edits)
    columns = [f"{name}:{kind}" for name, kind in original.editable.items()]
    arguments = ["edits", str(original.path), str(original.rows), str(edits), ",".join(original.keys), *columns]
    _make_once(path, arguments)
    return path


def short(count: int) -> str:
    """A round number as people write it."""
    return f"{count // 1_000_000}M" if count % 1_000_000 == 0 else f"{count // 1000}k"


def _make_once(path: Path, arguments: list[str]) -> None:
    if not path.exists():
        # Under another name first, so that an interrupted run leaves no half file behind.
        unfinished = path.with_suffix(".unfinished")
        measure.run([sys.executable, __file__, str(unfinished), *arguments])
        unfinished.rename(path)


def _write(path: Path, query: str) -> None:
    """Writes the result of a query as Stet and the peers do: Zstandard at level 1."""
    import duckdb
    import pyarrow.parquet

    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    connection.execute(query)
    reader: pyarrow.RecordBatchReader = connection.to_arrow_reader(ROW_GROUP_ROWS)
    with pyarrow.parquet.ParquetWriter(path, reader.schema, compression="zstd", compression_level=1) as writer:
        pending = None
        for batch in reader:
            table = pyarrow.Table.from_batches([batch])
            pending = table if pending is None else pyarrow.concat_tables([pending, table])
            while pending.num_rows >= ROW_GROUP_ROWS:
                writer.write_table(pending.slice(0, ROW_GROUP_ROWS), row_group_size=ROW_GROUP_ROWS)
                pending = pending.slice(ROW_GROUP_ROWS)
        if pending is not None and pending.num_rows:
            writer.write_table(pending, row_group_size=ROW_GROUP_ROWS)


def _generated_query(rows: int, keys: int) -> str:
    # Multiplying by a number that shares no factor with the count of rows gives each number once, in no order.
    scattered = f"((i * 7368787 + 12345) % {rows})"
    key = f"{scattered} // 100" if keys == 2 else scattered
    return f"""
        SELECT {key} AS id,
               'S' || ({scattered} % 100) AS site,
               'Operator ' || (i * 31 % 300) AS operator,
               CASE WHEN i % 17 <> 0
                    THEN 'report ' || (i * 1299709 % {rows}) || ' of flight ' || (i % 9973) END AS remark,
               i * 37 % 40000 AS altitude,
               (i * 613 % 100000) / 8.0 AS speed,
               TIMESTAMP '1990-01-01' + to_seconds(i * 389 % 400000000) AS reported_at,
               CASE WHEN i % 23 <> 0 THEN 'Species ' || (i * 17 % 800) END AS species,
               (i * 104729 % 1000000) / 4.0 AS cost,
               DATE '1990-01-01' + (i * 7 % 4700)::INTEGER AS flight_date
        FROM range({rows}) numbers(i)"""


def _flights_query() -> str:
    return f"""
        SELECT file_row_number AS flight_id, * EXCLUDE file_row_number
        FROM read_parquet('{FLIGHTS}', file_row_number = true)"""


def _text(column: str, kind: str) -> str:
    """A value as the canonical text of an editlog."""
    if kind == "DOUBLE":
        return f"regexp_replace(CAST({column} AS VARCHAR), '\\.0$', '')"
    return f"CAST({column} AS VARCHAR)"


NEW_VALUES = {
    "VARCHAR": "'edited ' || event",
    "DOUBLE": "regexp_replace(CAST((event % 100000) / 4.0 AS VARCHAR), '\\.0$', '')",
    "BIGINT": "CAST(event % 1000 AS VARCHAR)",
    "DATE": "CAST(DATE '2001-01-01' + (event % 5000)::INTEGER AS VARCHAR)",
}


def _edits_query(original: str, rows: int, edits: int, keys: list[str], columns: list[tuple[str, str]]) -> str:
    first_time = edits - edits // 10
    cell = f"CASE WHEN event <= {first_time} THEN event ELSE event - {first_time} END"
    names = ", ".join(f"'{name}'" for name, _ in columns)
    new = " ".join(f"WHEN {n} THEN {NEW_VALUES[kind]}" for n, (_, kind) in enumerate(columns))
    old = " ".join(f"WHEN {n} THEN {_text(name, kind)}" for n, (name, kind) in enumerate(columns))
    # A key of one column is its text, of several a JSON array of texts.
    texts = [f"CAST({key} AS VARCHAR)" for key in keys]
    key = (
        texts[0]
        if len(keys) == 1
        else "'[' || " + " || ',' || ".join(f"'\"' || {t} || '\"'" for t in texts) + " || ']'"
    )
    return f"""
        WITH numbered AS (SELECT event, ({cell}) AS cell FROM range(1, {edits + 1}) numbers(event)),
        placed AS (SELECT event, (cell * 1299709) % {rows} AS place, cell % {len(columns)} AS number FROM numbered),
        valued AS (
            SELECT event, place, number, CASE WHEN event % 50 <> 0 THEN CASE number {new} END END AS value FROM placed),
        followed AS (
            SELECT *, lag(event) OVER cells AS event_before, lag(value) OVER cells AS value_before
            FROM valued WINDOW cells AS (PARTITION BY place, number ORDER BY event)),
        original AS (SELECT * FROM read_parquet('{original}', file_row_number = true)),
        joined AS (
            SELECT followed.*, {", ".join(f"original.{k}" for k in keys)}, {key} AS key,
                   [{names}][number + 1] AS column_name,
                   CASE number {old} END AS in_original
            FROM followed JOIN original ON file_row_number = place)
        SELECT joined.event, {", ".join(f"joined.{k}" for k in keys)}, key, column_name, value,
               CASE WHEN event_before IS NULL THEN in_original ELSE value_before END AS previous
        FROM joined ORDER BY joined.event"""


def main() -> None:
    """Makes one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("what", choices=["generated", "flights", "edits"])
    parser.add_argument("arguments", nargs="*")
    given = parser.parse_args()
    match given.what, given.arguments:
        case "generated", [rows, keys]:
            query = _generated_query(int(rows), int(keys))
        case "flights", []:
            query = _flights_query()
        case "edits", [original, rows, edits, keys, *columns]:
            pairs = [(name, kind) for name, _, kind in (column.partition(":") for column in columns)]
            query = _edits_query(original, int(rows), int(edits), keys.split(","), pairs)
        case _:
            parser.error("the arguments do not fit what is to be made")
    _write(given.path, query)


if __name__ == "__main__":
    main()
