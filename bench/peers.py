"""The peers' builds: replay and apply as one query each, a whole process each. And the floor: read and write, no edits.

    python peers.py duckdb|polars|rewrite ORIGINAL EDITLOG OUTPUT KEYS COLUMN:TYPE...

Each loads only its own library. Where there was a choice it went in the peer's favour: the editlog comes with typed key
columns and as Parquet, and the order of the rows may be lost, which Stet keeps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


def duckdb_build(original: str, editlog: str, output: str, keys: list[str], columns: dict[str, str]) -> None:
    """DuckDB: the last value of each cell by `arg_max`, one aggregation for all columns, then one join."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"COPY ({duckdb_query(original, editlog, keys, columns)}) TO '{output}' "
        "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 1048576)"
    )


def duckdb_query(original: str, editlog: str, keys: list[str], columns: dict[str, str]) -> str:
    """The original with its edits applied, as a query."""
    last = ", ".join(
        f"arg_max_null(value, event) FILTER (column_name = '{name}') AS new_{name}, "
        f"bool_or(column_name = '{name}') AS has_{name}"
        for name in columns
    )
    # An emptied cell is a null value that is there; without an edit there is none.
    applied = ", ".join(
        f"CASE WHEN has_{name} THEN CAST(new_{name} AS {kind}) ELSE {name} END AS {name}"
        for name, kind in columns.items()
    )
    pivoted = f"SELECT {', '.join(keys)}, {last} FROM read_parquet('{editlog}') GROUP BY {', '.join(keys)}"
    return f"""
        SELECT original.* REPLACE ({applied})
        FROM read_parquet('{original}') original LEFT JOIN ({pivoted}) pivoted USING ({", ".join(keys)})"""


def polars_build(original: str, editlog: str, output: str, keys: list[str], columns: dict[str, str]) -> None:
    """Polars: the streaming engine, from scan to sink."""
    import polars

    parsed: dict[str, Callable[[polars.Expr], polars.Expr]] = {
        "VARCHAR": lambda text: text,
        "DOUBLE": lambda text: text.cast(polars.Float64),
        "BIGINT": lambda text: text.cast(polars.Int64),
        "DATE": lambda text: text.str.to_date("%Y-%m-%d"),
    }
    is_of = {name: polars.col("column_name") == name for name in columns}
    # The editlog is in the order of its events, so the last one in a group is the last one of the log.
    pivoted = (
        polars.scan_parquet(editlog)
        .group_by(keys)
        .agg(
            *[polars.col("value").filter(is_of[name]).last().alias(f"new_{name}") for name in columns],
            *[is_of[name].any().alias(f"has_{name}") for name in columns],
        )
    )
    applied = [
        polars.when(polars.col(f"has_{name}"))
        .then(parsed[kind](polars.col(f"new_{name}")))
        .otherwise(polars.col(name))
        .alias(name)
        for name, kind in columns.items()
    ]
    scan = polars.scan_parquet(original)
    (
        scan.join(pivoted, on=keys, how="left")
        .with_columns(applied)
        .select(scan.collect_schema().names())
        .sink_parquet(output, compression="zstd", compression_level=1, row_group_size=1048576)
    )


def rewrite(original: str, editlog: str, output: str, keys: list[str], columns: dict[str, str]) -> None:
    """Reads the original and writes it again, with pyarrow: the floor of a build that decodes and encodes all."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(original) as source:
        schema = source.schema_arrow
        with pyarrow.parquet.ParquetWriter(output, schema, compression="zstd", compression_level=1) as writer:
            for group in range(source.num_row_groups):
                writer.write_table(source.read_row_group(group), row_group_size=1048576)


BUILDS: dict[str, Callable[[str, str, str, list[str], dict[str, str]], None]] = {
    "duckdb": duckdb_build,
    "polars": polars_build,
    "rewrite": rewrite,
}


def main() -> None:
    """Runs one build."""
    what, original, editlog, output, keys, *columns = sys.argv[1:]
    types = {name: kind for name, _, kind in (column.partition(":") for column in columns)}
    BUILDS[what](original, editlog, output, keys.split(","), types)


if __name__ == "__main__":
    main()
