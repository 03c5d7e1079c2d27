"""Runs programs and measures them: wall time, CPU time, peak memory; medians and what the machine was doing.

Run as a program it is the launcher of one measured child. The kernel counts the memory of the process that starts a
program towards that program's peak, so children are started from here, where next to nothing is loaded, and not from
the benchmark itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Usage:
    """What one run of a program took."""

    wall_s: float
    cpu_s: float
    """User and system time of the process and of the children it waited for."""
    memory_mb: float
    """The most that was resident at one moment, in 10^6 bytes."""
    stdout: str


class ProgramFailed(Exception):
    """A measured program ended with an error, so there is nothing to measure."""


def run(command: Sequence[str], timeout_s: float = 3600) -> Usage:
    """Runs a program to its end and measures it as a whole process."""
    launcher = [sys.executable, "-I", "-S", __file__, *command]
    done = subprocess.run(launcher, capture_output=True, text=True, timeout=timeout_s, check=False)
    report, _, stdout = done.stdout.partition("\n")
    if done.returncode != 0:
        raise ProgramFailed(
            f"{' '.join(command)}\nended with {done.returncode}:\n{stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return Usage(**json.loads(report), stdout=stdout)


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two in the middle."""
    ordered = sorted(samples)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def quantile(samples: Sequence[float], share: float) -> float:
    """The least sample that at least this share of all samples does not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def alternate(repeats: int, runs: dict[str, Callable[[], Result]]) -> dict[str, list[Result]]:
    """Runs each of the competitors `repeats` times, in turns and starting with another one each time, so that what else
    happens on the machine meets all of them alike."""
    names = list(runs)
    results: dict[str, list[Result]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(runs[name]())
    return results


@dataclass
class Line:
    """One line of the table: one measure of one workload, for all competitors."""

    section: str
    workload: str
    measure: str
    unit: str
    samples: dict[str, list[float]]
    peers: tuple[str, ...] = ()
    """Those that Stet is held against; the others are there to compare."""
    more_is_better: bool = False
    notes: list[str] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        """The median of each competitor."""
        return {name: median(samples) for name, samples in self.samples.items() if samples}

    def best_peer(self) -> str | None:
        """The name of the best of the peers."""
        medians = self.medians()
        present = [peer for peer in self.peers if peer in medians]
        if not present:
            return None
        return (max if self.more_is_better else min)(present, key=medians.__getitem__)

    def ratio(self) -> float | None:
        """How many times better Stet is than the best peer; below 1 it is worse."""
        medians, peer = self.medians(), self.best_peer()
        if peer is None or not medians.get("stet") or not medians[peer]:
            return None
        return medians["stet"] / medians[peer] if self.more_is_better else medians[peer] / medians["stet"]

    def as_json(self) -> dict[str, object]:
        """The line with all its samples."""
        return {
            "section": self.section,
            "workload": self.workload,
            "measure": self.measure,
            "unit": self.unit,
            "more_is_better": self.more_is_better,
            "medians": self.medians(),
            "best_peer": self.best_peer(),
            "ratio": self.ratio(),
            "samples": self.samples,
            "notes": self.notes,
        }


def usage_lines(
    section: str, workload: str, usages: dict[str, list[Usage]], peers: tuple[str, ...], notes: list[str]
) -> list[Line]:
    """Wall time, CPU time and peak memory of the same runs."""
    measures: list[tuple[str, str, Callable[[Usage], float]]] = [
        ("wall time", "s", lambda usage: usage.wall_s),
        ("CPU time", "s", lambda usage: usage.cpu_s),
        ("peak memory", "MB", lambda usage: usage.memory_mb),
    ]
    return [
        Line(
            section,
            workload,
            measure,
            unit,
            {name: [value(usage) for usage in runs] for name, runs in usages.items()},
            peers,
            notes=notes if measure == "wall time" else [],
        )
        for measure, unit, value in measures
    ]


def machine() -> dict[str, object]:
    """What machine this is."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model,
        "memory_gb": round(int(memory) * 1024 / 1e9, 1),
        "kernel": os.uname().release,
    }


def load() -> list[float]:
    """How many processes wanted to run, on average over 1, 5 and 15 minutes; the benchmark's own among them."""
    return [round(value, 2) for value in os.getloadavg()]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _launch(command: list[str]) -> int:
    """Runs the command; prints what it took on a line of its own, then what it printed."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        stdout = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
    report = {
        "wall_s": wall_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "memory_mb": usage.ru_maxrss * 1024 / 1e6,
    }
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(stdout)
    return 0 if child.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(_launch(sys.argv[1:]))
