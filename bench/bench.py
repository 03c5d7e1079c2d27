"""Measures Stet against what people would use instead. See README.md beside this file."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import builds
import edits
import live
import measure
import report
from measure import Line

HERE = Path(__file__).parent
SECTIONS: dict[str, Callable[[Path, dict[str, Any]], Iterator[Line]]] = {
    "builds": builds.lines,
    "live": live.lines,
    "edits": edits.lines,
}


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="bench/run", description="Measures Stet against its peers, in one run.")
    parser.add_argument("--quick", action="store_true", help="small sizes: under two minutes on a quiet machine")
    parser.add_argument("--only", choices=list(SECTIONS), help="one section of the three")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where to write all figures [default: bench/results/DATE.json]"
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        default=Path(tempfile.gettempdir()) / f"stet-bench-{os.getuid()}",
        help="a folder on a local disk for the data; generated originals are kept there [default: %(default)s]",
    )
    return parser.parse_args()


def versions() -> dict[str, str]:
    """The versions of all that is measured."""
    stet = subprocess.run([os.environ["STET"], "--version"], capture_output=True, text=True, check=True).stdout.strip()
    peers = {name: importlib.metadata.version(name) for name in ("duckdb", "polars", "pyarrow")}
    return {"stet": stet, **peers}


def main() -> int:
    """Runs what was asked for; the exit code tells whether it could be run, never whether a figure is good."""
    # So that servers and databases that were started are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked = arguments()
    size = "quick" if asked.quick else "full"
    workloads = tomllib.loads((HERE / "workloads.toml").read_text(encoding="utf-8"))[size]
    started = datetime.datetime.now(tz=datetime.UTC)
    facts: dict[str, object] = {
        "started_at": started.isoformat(timespec="seconds"),
        "size": size,
        "machine": measure.machine(),
        "versions": versions(),
        "load_at_start": measure.load(),
    }
    print(", ".join(f"{name} {value}" for name, value in {**measure.machine(), **versions()}.items()))
    print(f"load at the start: {facts['load_at_start']}; medians of alternating runs", flush=True)

    asked.work.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = asked.json or HERE / "results" / f"{started:%Y-%m-%dT%H%M%SZ}.json"
    lines: list[Line] = []
    failed: list[str] = []
    try:
        for section in [asked.only] if asked.only else list(SECTIONS):
            if reason := _measure(section, asked.work, workloads[section], lines):
                failed.append(f"{section}: {reason}")
    finally:
        # Also when it is interrupted: what was measured until then is kept.
        report.write_json(path, {**facts, "load_at_end": measure.load(), "failed": failed}, lines)
        print(f"\nload at the end: {measure.load()}; all samples are in {path}")
    return 1 if failed else 0


def _measure(section: str, work: Path, settings: dict[str, Any], lines: list[Line]) -> str | None:
    """Measures one section, printing and adding each line as it is known; gives the reason if it was broken off."""
    print(report.heading(section), flush=True)
    workload = ""
    try:
        for line in SECTIONS[section](work, settings):
            if line.workload != workload:
                workload = line.workload
                print(workload)
            lines.append(line)
            print(report.row(line), flush=True)
    except (measure.ProgramFailed, subprocess.SubprocessError, OSError) as error:
        print(f"bench: {section} was broken off: {error}", file=sys.stderr)
        return str(error)
    finally:
        # A generated original is kept for the next run, a node is not.
        for leftover in work.glob("node-*"):
            shutil.rmtree(leftover, ignore_errors=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
