"""The live table: opening it, and pages of it, against DuckDB and PostgreSQL answering the same queries."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import originals
import postgres
from live_queries import BY_NUMBER, BY_TEXT, FILTERED, FILTERED_COUNTED, FILTERED_SORTED, UNSORTED, View, offsets
from measure import Line
from node import BASE, ORIGINAL, Client, Node, first_rows
from originals import Original

MEMORY, PARQUET, POSTGRES, INDEXED = "duckdb in memory", "duckdb on Parquet", "postgresql", "postgresql, index"
PEERS = (MEMORY, PARQUET, POSTGRES, INDEXED)

POSTGRES_TABLE = f"""
CREATE TABLE {ORIGINAL} (
  id bigint, site text, operator text, remark text, altitude bigint, speed double precision, reported_at timestamp,
  species text, cost double precision, flight_date date)
"""
CSV_SCRIPT = """
import duckdb, sys
duckdb.execute("SET enable_progress_bar = false")
duckdb.execute(f"COPY (SELECT * FROM read_parquet('{sys.argv[1]}')) TO '/dev/stdout' (FORMAT csv, HEADER false)")
"""


@dataclass(frozen=True)
class Pages:
    """Pages of one view that are asked for one after the other."""

    view: View
    place: str
    """`start` or `middle`."""
    first_ever: bool
    """Whether nobody asked for this view before: then it is one page."""

    def name(self) -> str:
        """The measure's name in the table."""
        what = "first page ever" if self.first_ever else f"page of 200 at the {self.place}"
        return f"{self.view.name}: {what}"


# In this order: the first page of a view comes before those that find its order ready.
PAGES = (
    Pages(UNSORTED, "start", False),
    Pages(UNSORTED, "middle", False),
    Pages(BY_NUMBER, "start", True),
    Pages(BY_NUMBER, "middle", False),
    Pages(BY_TEXT, "start", True),
    Pages(BY_TEXT, "middle", False),
    Pages(FILTERED, "start", True),
    Pages(FILTERED_COUNTED, "start", True),
    Pages(FILTERED_SORTED, "start", True),
)
FIRST_START = "start of the server until the first rows, table never opened before"
SECOND_START = "start of the server until the first rows, table opened before"
MEMORY_TAKEN = "memory of the server of its own, after all of these"
ONE_EDIT = "one edit in that view: until the page shows it"

Samples = dict[str, dict[str, list[float]]]
"""Milliseconds by measure and competitor."""


def lines(work: Path, settings: dict[str, Any]) -> Iterator[Line]:
    """The live table in one size."""
    original = originals.generated(work, settings["rows"], 1)
    name = f"{originals.short(settings['rows'])} rows, {originals.short(settings['edits'])} edits"
    samples: Samples = {}
    # The lines come at the end, when all have answered, so tell who is at it.
    _tell("stet")
    memory_mb = _stet(work, original, settings, samples)
    for competitor in (MEMORY, PARQUET):
        _tell(competitor)
        _duckdb(original, competitor, settings, samples)
    _tell(POSTGRES)
    _postgres(work, original, settings, samples)
    for measured, by_competitor in samples.items():
        yield Line("live", name, measured, "ms", by_competitor, PEERS)
    yield Line("live", name, MEMORY_TAKEN, "MB", memory_mb)


def _tell(competitor: str) -> None:
    print(f"bench: live table: {competitor}", file=sys.stderr, flush=True)


def _add(samples: Samples, measured: str, competitor: str, times_ms: list[float]) -> None:
    samples.setdefault(measured, {}).setdefault(competitor, []).extend(times_ms)


def _stet(work: Path, original: Original, settings: dict[str, Any], samples: Samples) -> dict[str, list[float]]:
    """Asks Stet for everything; gives the memory that its server had in the end."""
    folder = work / "node-live"
    shutil.rmtree(folder, ignore_errors=True)
    node = Node(folder, original)
    node.fill(originals.with_edits(original, settings["edits"]))
    token = node.token()
    own_mb, mapped_mb = [], []
    for turn in range(settings["rounds"]):
        shutil.rmtree(folder / "cache")
        (folder / "cache").mkdir()
        started = time.perf_counter()
        with node.served() as (port, _):
            first_rows(port, token)
            _add(samples, FIRST_START, "stet", [(time.perf_counter() - started) * 1000])
        started = time.perf_counter()
        with node.served() as (port, process):
            client = first_rows(port, token)
            _add(samples, SECOND_START, "stet", [(time.perf_counter() - started) * 1000])
            _pages(client, original, settings, samples)
            _edit_and_look(client, settings["live_edits"], turn, samples)
            own_mb.append(_resident_mb(process, "RssAnon"))
            mapped_mb.append(_resident_mb(process, "RssFile"))
    shutil.rmtree(folder, ignore_errors=True)
    return {"stet": own_mb, "and mapped from files, which the system can drop": mapped_mb}


def _pages(client: Client, original: Original, settings: dict[str, Any], samples: Samples) -> None:
    for pages in PAGES:
        count = 1 if pages.first_ever else settings["pages"]
        seconds_before, requests_before = client.server_seconds("/rows/query")
        times_ms = [client.page(pages.view.request(offset))[0] for offset in offsets(original.rows, pages.place, count)]
        seconds, requests = client.server_seconds("/rows/query")
        _add(samples, pages.name(), "stet", times_ms)
        at_server_ms = (seconds - seconds_before) * 1000 / max(1, requests - requests_before)
        _add(samples, pages.name(), "stet at the server (mean)", [at_server_ms])


def _edit_and_look(client: Client, count: int, turn: int, samples: Samples) -> None:
    """Edits the cell by which the open view is sorted, and asks for the page on which the row is then."""
    request = FILTERED_SORTED.request(0)
    page = json.loads(client.page(request)[1])
    keys = [row["key"] for row in page["rows"]][::-1][:count]
    seconds_before = sum(client.server_seconds(route)[0] for route in ("/edits", "/rows/query"))
    for number, key in enumerate(keys):
        # Greater than all others, so the row moves to the first place.
        value = str(10_000_000 + turn * 1000 + number)
        edit = {"action": "update", "key": key, "column": "cost", "value": value}
        saved_ms, _ = client.ask("POST", f"{BASE}/edits", {"source": "grid", "edits": [edit]})
        shown_ms, answer = client.page(request)
        if json.loads(answer)["rows"][0]["key"] != key:
            raise measure.ProgramFailed(f"the page does not show the edit of row {key} that was just saved")
        _add(samples, ONE_EDIT, "stet", [saved_ms + shown_ms])
        _add(samples, ONE_EDIT, "of which stet's page", [shown_ms])
    seconds = sum(client.server_seconds(route)[0] for route in ("/edits", "/rows/query"))
    _add(samples, ONE_EDIT, "stet at the server (mean)", [(seconds - seconds_before) * 1000 / max(1, len(keys))])


def _resident_mb(process: int, kind: str) -> float:
    """How much of a process is in memory: `RssAnon`, its own, or `RssFile`, of files."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) * 1024 / 1e6


def _statements(original: Original, settings: dict[str, Any]) -> list[tuple[str, str]]:
    """The measures of the peers with their statements, in the order of [PAGES]."""
    pages = [
        (pages.name(), pages.view.sql(offset))
        for pages in PAGES
        for offset in offsets(original.rows, pages.place, 1 if pages.first_ever else settings["peer_pages"])
    ]
    return [("warm-up", UNSORTED.sql(0)), *pages]


def _edit_statements(settings: dict[str, Any]) -> list[str]:
    """Edits by key and pages after each, in turns."""
    edits = [
        f"UPDATE {ORIGINAL} SET cost = {10_000_000 + turn} WHERE id = {turn * 10}"
        for turn in range(settings["peer_pages"])
    ]
    return [statement for edit in edits for statement in (edit, FILTERED_SORTED.sql(0))]


def _collect(statements: list[tuple[str, str]], times_ms: list[float], competitor: str, samples: Samples) -> None:
    for (measured, _), time_ms in zip(statements, times_ms, strict=True):
        if measured != "warm-up":
            _add(samples, measured, competitor, [time_ms])


def _collect_edits(times_ms: list[float], competitor: str, samples: Samples) -> None:
    both = [edit + page for edit, page in zip(times_ms[::2], times_ms[1::2], strict=True)]
    _add(samples, ONE_EDIT, competitor, both)


def _duckdb(original: Original, competitor: str, settings: dict[str, Any], samples: Samples) -> None:
    statements = _statements(original, settings)
    in_memory = competitor == MEMORY
    edits = _edit_statements(settings) if in_memory else []
    script = str(Path(__file__).with_name("live_duckdb.py"))
    done = subprocess.run(
        [sys.executable, script, str(original.path), "memory" if in_memory else "parquet"],
        input=json.dumps([sql for _, sql in statements] + edits), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise measure.ProgramFailed(f"DuckDB: {done.stderr[-2000:]}")
    load_ms, *times_ms = json.loads(done.stdout)
    _collect(statements, times_ms[: len(statements)], competitor, samples)
    if in_memory:
        _add(samples, FIRST_START, competitor, [load_ms])
        _collect_edits(times_ms[len(statements) :], competitor, samples)


def _postgres(work: Path, original: Original, settings: dict[str, Any], samples: Samples) -> None:
    with postgres.cluster(work) as cluster:
        if cluster is None:
            print("bench: PostgreSQL is left out: it is not installed", file=sys.stderr)
            return
        cluster.sql(POSTGRES_TABLE)
        cluster.load(ORIGINAL, [sys.executable, "-c", CSV_SCRIPT, str(original.path)])
        cluster.sql(f"ALTER TABLE {ORIGINAL} ADD PRIMARY KEY (id);\nVACUUM ANALYZE {ORIGINAL};")
        statements = _statements(original, settings)
        _collect(statements, cluster.times_ms([sql for _, sql in statements]), POSTGRES, samples)
        _collect_edits(cluster.times_ms(_edit_statements(settings)), POSTGRES, samples)
        # An index on the column that happens to be sorted by: what a page could have if somebody had foreseen it.
        cluster.sql(f"CREATE INDEX ON {ORIGINAL} (cost);\nANALYZE {ORIGINAL};")
        foreseen = [(measured, sql) for measured, sql in statements if measured.startswith(BY_NUMBER.name)]
        _collect(foreseen, cluster.times_ms([sql for _, sql in foreseen]), INDEXED, samples)
        _collect_edits(cluster.times_ms(_edit_statements(settings)), INDEXED, samples)
