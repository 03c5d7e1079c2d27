"""Builds: replay and apply, against DuckDB and Polars doing the same, and against reading and writing the file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import measure
import originals
from measure import Line, Usage
from node import Node
from originals import Original

PEERS = ("duckdb", "polars")
CHECK_SCRIPT = """
import duckdb, sys
duckdb.execute("SET enable_progress_bar = false")
one, other = (f"SELECT * FROM read_parquet('{path}')" for path in sys.argv[1:])
for left, right in ((one, other), (other, one)):
    print(duckdb.execute(f"SELECT count(*) FROM (({left}) EXCEPT ALL ({right}))").fetchone()[0])
"""


def lines(work: Path, settings: dict[str, Any]) -> Iterator[Line]:
    """All builds, one workload after the other."""
    for case in settings["cases"]:
        original = originals.generated(work, case["rows"], case["keys"])
        keys = "1 key column" if case["keys"] == 1 else f"{case['keys']} key columns"
        name = f"{originals.short(case['rows'])} rows, {originals.short(case['edits'])} edits, {keys}"
        yield from _workload(work, original, case["edits"], name, settings)
    if settings["flights_edits"]:
        flights = originals.flights(work)
        if flights is None:
            print(f"bench: the flights are left out: there is no {originals.FLIGHTS}", file=sys.stderr)
        else:
            edits = settings["flights_edits"]
            yield from _workload(work, flights, edits, f"flights: 3M rows, {originals.short(edits)} edits", settings)


def _workload(work: Path, original: Original, edits: int, name: str, settings: dict[str, Any]) -> Iterator[Line]:
    editlog = originals.with_edits(original, edits)
    folder = work / "node-builds"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        node = Node(folder, original)
        node.fill(editlog)
        runs: dict[str, Callable[[], Usage]] = {"stet": lambda: node.build("force")}
        for peer in (*PEERS, "rewrite"):
            runs[peer] = _peer(peer, original, editlog, folder / f"{peer}.parquet")
        usages = measure.alternate(settings["repeats"], runs)
        notes = [_comparison(node.edited(), folder / f"{peer}.parquet", peer) for peer in PEERS]
        yield from measure.usage_lines("builds", name, usages, PEERS, notes)
        yield from _incremental(node, name, usages["stet"], settings["repeats_incremental"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _peer(peer: str, original: Original, editlog: Path, output: Path) -> Callable[[], Usage]:
    columns = [f"{name}:{kind}" for name, kind in original.editable.items()]
    script = str(Path(__file__).with_name("peers.py"))
    command = [
        sys.executable,
        script,
        peer,
        str(original.path),
        str(editlog),
        str(output),
        ",".join(original.keys),
        *columns,
    ]
    return lambda: measure.run(command)


def _comparison(one: Path, other: Path, peer: str) -> str:
    """Says whether two files have the same rows, each as often."""
    only_one, only_other = map(
        int, measure.run([sys.executable, "-c", CHECK_SCRIPT, str(one), str(other)]).stdout.split()
    )
    if only_one == only_other == 0:
        return f"the same rows as {peer}"
    return f"DIFFERS from {peer}: {only_one} rows are only Stet's, {only_other} only {peer}'s"


def _incremental(node: Node, name: str, full: list[Usage], repeats: int) -> Iterator[Line]:
    """What `--mode required` takes with nothing new, and with one new edit, against the full build of before."""
    full_s = [usage.wall_s for usage in full]
    node.build("required")
    nothing = [node.build("required").wall_s for _ in range(repeats)]
    one = _one_edit_each(node, range(repeats))
    # The same with the output as a folder of files, of which a rebuild writes one.
    node.output_in_folder()
    node.build("force")
    one_in_folder = _one_edit_each(node, range(repeats, 2 * repeats))
    for measured, what in (
        (nothing, "again, nothing new"),
        (one, "again, one new edit"),
        (one_in_folder, "again, one new edit, output a folder"),
    ):
        yield Line("builds", name, what, "s", {"stet": measured, "stet, full build": full_s}, ("stet, full build",))


def _one_edit_each(node: Node, turns: range) -> list[float]:
    """What a rebuild takes after one new edit, for each turn another one."""
    column, kind = next(iter(node.original.editable.items()))
    assert kind in originals.NEW_VALUES
    taken = []
    for turn in turns:
        node.add_edit(_some_key(node.original, turn), column, str(1_000_000 + turn))
        taken.append(node.build("required").wall_s)
    return taken


def _some_key(original: Original, turn: int) -> str:
    """The key of a row of the original."""
    place = (turn + 1) * 7919 % (original.rows // 100)
    return f'["{place}","S{turn % 100}"]' if len(original.keys) == 2 else str(place)
