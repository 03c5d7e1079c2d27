"""DuckDB answering the queries of the live table, in a process of its own.

    python live_duckdb.py ORIGINAL memory|parquet < statements.json

Reads a list of statements, gives a list of milliseconds: until all rows are there as Python's objects. With `memory`
the original is read into memory before, which is the first of the figures.
"""

from __future__ import annotations

import json
import sys
import time

import duckdb

from node import ORIGINAL


def main() -> None:
    """Runs the statements one after the other."""
    original, place = sys.argv[1:]
    statements = json.load(sys.stdin)
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    source = f"SELECT * FROM read_parquet('{original}')"
    times_ms = [_time_ms(connection, f"CREATE {'TABLE' if place == 'memory' else 'VIEW'} {ORIGINAL} AS {source}")]
    times_ms += [_time_ms(connection, statement) for statement in statements]
    print(json.dumps(times_ms))


def _time_ms(connection: duckdb.DuckDBPyConnection, statement: str) -> float:
    started = time.perf_counter()
    connection.execute(statement).fetchall()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
