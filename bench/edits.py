"""Durable edits per second and their latency, against PostgreSQL taking plain single-row inserts from pgbench."""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import measure
import originals
import postgres
from measure import Line
from node import BASE, Client, Node, cpu_s, first_rows
from originals import Original
from postgres import Postgres

PGBENCH_TABLE = """
CREATE TABLE events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  date timestamptz NOT NULL DEFAULT now(),
  author text NOT NULL, key text NOT NULL, column_name text NOT NULL, value text)
"""
PGBENCH_SCRIPT = r"""\set key random(1, 1000000)
INSERT INTO events (author, key, column_name, value) VALUES ('ada', :key::text, 'species', 'edited');
"""


SQLITE_SCRIPT = """
import os, resource, sqlite3, sys, time
path, batch, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
log = sqlite3.connect(path, isolation_level=None)
log.execute("PRAGMA journal_mode = WAL")
log.execute("PRAGMA synchronous = FULL")
log.execute("CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, date TEXT NOT NULL DEFAULT (datetime('now')),"
            " author TEXT NOT NULL, key TEXT NOT NULL, column_name TEXT NOT NULL, value TEXT)")
def rows(first):
    return (("ada", str(key), "species", "edited") for key in range(first, first + batch))
done, started = 0, time.perf_counter()
while time.perf_counter() - started < seconds:
    log.execute("BEGIN IMMEDIATE")
    log.executemany("INSERT INTO events (author, key, column_name, value) VALUES (?, ?, ?, ?)", rows(done))
    log.execute("COMMIT")
    done += batch
elapsed = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_SELF)
print(done / elapsed, (used.ru_utime + used.ru_stime) / done * 1e6)
"""


@dataclass
class Measured:
    """What a number of clients did."""

    per_second: float
    mean_ms: float
    latencies_ms: list[float] = field(default_factory=list)
    client_us: float = 0.0
    """The CPU time of the clients for each request, in microseconds."""
    server_us: float = 0.0
    """The same of the server."""
    database_us: float = 0.0
    """The same of PostgreSQL."""


@dataclass
class Served:
    """A node that is served, and what is asked of it."""

    client: Client
    port: int
    process: int
    edits: Edits
    cluster: Postgres | None = None
    """Where its editlog is, unless that is SQLite."""


def lines(work: Path, settings: dict[str, Any]) -> Iterator[Line]:
    """Edits with each number of clients into SQLite and into PostgreSQL, and pgbench, in turns."""
    syncs = {"disk": [_syncs(work)]}
    yield Line("edits", "the disk", "4 kB appended and synced, one after the other", "/s", syncs, more_is_better=True)
    original = originals.generated(work, settings["rows"], 1)
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres.cluster(work))
        served = {"stet": stack.enter_context(_served(work / "node-edits", original))}
        if cluster is None:
            print("bench: pgbench is left out: PostgreSQL is not installed", file=sys.stderr)
        else:
            cluster.sql(PGBENCH_TABLE)
            served["stet-postgresql"] = stack.enter_context(_served(work / "node-edits-database", original, cluster))
        for clients in settings["clients"]:
            seconds = settings["seconds"]
            runs: dict[str, Callable[[], Measured]] = {
                name: partial(_stet, node, clients, seconds) for name, node in served.items()
            }
            if cluster is not None:
                runs["pgbench"] = partial(_pgbench, cluster, clients, seconds)
            if _load_program():
                runs["nothing"] = partial(_nothing, served["stet"], clients, seconds)
            runs["sqlite"] = partial(_sqlite, work, clients, seconds)
            yield from _lines(clients, measure.alternate(settings["rounds"], runs))


@contextmanager
def _served(folder: Path, original: Original, cluster: Postgres | None = None) -> Iterator[Served]:
    """A new node whose table is open; gone at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    node = Node(folder, original, cluster)
    token = node.token()
    with node.served() as (port, process):
        # Each edit is of a cell that was not edited before, so that each is logged.
        yield Served(first_rows(port, token), port, process, Edits(original, token), cluster)
    shutil.rmtree(folder, ignore_errors=True)


def _lines(clients: int, runs: dict[str, list[Measured]]) -> Iterator[Line]:
    workload = f"{clients} client{'s' if clients > 1 else ''}"
    floors = {name: [run.per_second for run in runs[name]] for name in ("nothing", "sqlite") if name in runs}
    for name, what in (("stet", "SQLite"), ("stet-postgresql", "PostgreSQL")):
        if name not in runs:
            continue
        with_peer = {"stet": runs[name]} | {peer: runs[peer] for peer in ("pgbench",) if peer in runs}
        rate = {of: [run.per_second for run in of_name] for of, of_name in with_peer.items()}
        mean = {of: [run.mean_ms for run in of_name] for of, of_name in with_peer.items()}
        note = f"microseconds of CPU for each: {_cpu(runs[name])}"
        if "pgbench" in runs:
            note += f"; pgbench: {_cpu(runs['pgbench'])}"
        of = f"durable edits, {what}"
        yield Line("edits", workload, of, "/s", rate, ("pgbench",), more_is_better=True, notes=[note])
        yield Line("edits", workload, f"latency, mean, {what}", "ms", mean, ("pgbench",))
        for quantile, share in (("median", 0.5), ("99th percentile", 0.99)):
            samples = {"stet": [measure.quantile(run.latencies_ms, share) for run in runs[name]]}
            yield Line("edits", workload, f"latency, {quantile}, {what}", "ms", samples)
    told = {"nothing": "an answer that says nothing", "sqlite": "bare inserts in batches of as many"}
    notes = [f"{told[name]}: {_cpu(runs[name])}" for name in floors]
    yield Line("edits", workload, "the floor of each part", "/s", floors, more_is_better=True, notes=notes)


def _cpu(runs: list[Measured]) -> str:
    """The CPU time for each request, in microseconds, by who took it."""
    parts = {"server": "server_us", "PostgreSQL": "database_us", "clients": "client_us"}
    medians = {who: measure.median([getattr(run, name) for run in runs]) for who, name in parts.items()}
    return ", ".join(f"{who} {us:.0f}" for who, us in medians.items() if us > 0)


def _stet(served: Served, clients: int, seconds: float) -> Measured:
    saved_before, cluster = _saved(served.client), served.cluster
    server_before_s, database_before_s = cpu_s(served.process), cluster.cpu_s() if cluster else 0.0
    run = _run_load if _load_program() else _drive
    measured = run(served.port, clients, seconds, served.edits)
    count = len(measured.latencies_ms)
    measured.server_us = (cpu_s(served.process) - server_before_s) / count * 1e6
    measured.database_us = ((cluster.cpu_s() if cluster else 0.0) - database_before_s) / count * 1e6
    saved = _saved(served.client) - saved_before
    if saved < count:
        raise measure.ProgramFailed(f"of {count} edits only {saved} were saved")
    return measured


def _nothing(served: Served, clients: int, seconds: float) -> Measured:
    """The same clients on the same connections, asking for what costs nothing to answer."""
    before_s = cpu_s(served.process)
    measured = _load(served.edits.token, [str(served.port), "/healthz", str(clients), str(seconds)])
    measured.server_us = (cpu_s(served.process) - before_s) / len(measured.latencies_ms) * 1e6
    return measured


def _sqlite(work: Path, batch: int, seconds: float) -> Measured:
    """Bare rows into SQLite, durably, in transactions of as many as there are clients: by one program, without a network."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        arguments = [str(Path(folder) / "bare.sqlite"), str(batch), str(min(seconds, 2.0))]
        done = subprocess.run(
            [sys.executable, "-c", SQLITE_SCRIPT, *arguments], capture_output=True, text=True, check=True
        )
    per_second, cpu_us = map(float, done.stdout.split())
    return Measured(per_second, batch / per_second * 1000, server_us=cpu_us)


def _saved(client: Client) -> int:
    text = client.ask("GET", "/metrics")[1].decode()
    return sum(int(count) for count in re.findall(r'^stet_edits_total{.*status="saved"} (\d+)', text, re.M))


class Edits:
    """Edits of one cell after the other: no cell twice, as long as there are cells that were not edited yet."""

    def __init__(self, original: Original, token: str) -> None:
        """Begins with the first row."""
        self.rows = original.rows
        self.token = token
        self.next_key = 0

    def __next__(self) -> bytes:
        """A request with the next edit."""
        turn, key = divmod(self.next_key, self.rows)
        self.next_key += 1
        edit = {"action": "update", "key": str(key), "column": "species", "value": f"edited {turn}"}
        body = json.dumps({"source": "grid", "edits": [edit]})
        head = (
            f"POST {BASE}/edits HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()


def _load_program() -> str | None:
    """The clients as a program of their own, if it was built."""
    program = os.environ.get("EDIT_LOAD", "")
    return program if os.access(program, os.X_OK) else None


def _run_load(port: int, clients: int, seconds: float, edits: Edits) -> Measured:
    turn, key = divmod(edits.next_key, edits.rows)
    edit = [str(key), str(edits.rows), "species", f"edited {turn}"]
    measured = _load(edits.token, [str(port), f"{BASE}/edits", str(clients), str(seconds), *edit])
    edits.next_key += len(measured.latencies_ms)
    return measured


def _load(token: str, arguments: list[str]) -> Measured:
    """Runs the program that stands for the clients."""
    environment = {**os.environ, "STET_TOKEN": token}
    done = subprocess.run([_load_program() or "", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise measure.ProgramFailed(f"edit_load ended with {done.stderr.strip()}")
    told = json.loads(done.stdout)
    latencies_ms, per_second = told["latencies_ms"], told["per_second"]
    mean_ms = sum(latencies_ms) / max(1, len(latencies_ms))
    return Measured(per_second, mean_ms, latencies_ms, told["client_share"] / per_second * 1e6)


def _drive(port: int, clients: int, seconds: float, edits: Edits) -> Measured:
    """Keeps each client busy with one edit after the other: raw requests on connections that stay open."""
    waiting = selectors.DefaultSelector()
    sent_at: dict[int, float] = {}
    received: dict[int, bytearray] = {}
    latencies_ms: list[float] = []
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
    by_number = {one.fileno(): one for one in sockets}
    for one in sockets:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting.register(one, selectors.EVENT_READ)
        received[one.fileno()] = bytearray()
    cpu_before, started = time.process_time(), time.perf_counter()
    for one in sockets:
        sent_at[one.fileno()] = time.perf_counter()
        one.sendall(next(edits))
    now, open_requests = started, clients
    while open_requests:
        for ready, _ in waiting.select():
            number = ready.fd
            one = by_number[number]
            answer = received[number]
            answer += one.recv(65536)
            if not _whole(answer):
                continue
            now = time.perf_counter()
            latencies_ms.append((now - sent_at[number]) * 1000)
            answer.clear()
            if now - started < seconds:
                sent_at[number] = now
                one.sendall(next(edits))
            else:
                open_requests -= 1
    own_cpu_s = time.process_time() - cpu_before
    for one in sockets:
        one.close()
    elapsed_s, count = now - started, len(latencies_ms)
    return Measured(count / elapsed_s, sum(latencies_ms) / count, latencies_ms, own_cpu_s / count * 1e6)


def _whole(answer: bytearray) -> bool:
    """Whether an answer is there to its end; one that is no success ends the benchmark."""
    if answer and not answer.startswith(b"HTTP/1.1 200"[: len(answer)]):
        raise measure.ProgramFailed(f"an edit was answered with {bytes(answer[:600])!r}")
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", answer[: end + 2])
    if length is None:
        return answer.endswith(b"0\r\n\r\n")
    return len(answer) >= end + 4 + int(length[1])


def _pgbench(cluster: Postgres, clients: int, seconds: int) -> Measured:
    script = cluster.folder / "insert.sql"
    script.write_text(PGBENCH_SCRIPT, encoding="utf-8")
    # Its time runs while it connects, which takes long with many clients; what it tells per second leaves that out.
    duration = seconds + clients // 64
    database_before_s, children_before = cluster.cpu_s(), os.times()
    output = cluster.run(
        "pgbench", "--no-vacuum", "--protocol=prepared", "--file", str(script),
        "--client", str(clients), "--jobs", str(min(clients, 2)), "--time", str(duration),
    )  # fmt: skip
    rate = re.search(r"^tps = ([0-9.]+)", output, re.M)
    latency = re.search(r"^latency average = ([0-9.]+) ms", output, re.M)
    done = re.search(r"^number of transactions actually processed: (\d+)", output, re.M)
    if rate is None or latency is None or done is None:
        raise measure.ProgramFailed(f"pgbench printed something else than expected:\n{output}")
    children = os.times()
    client_s = children.children_user + children.children_system
    client_s -= children_before.children_user + children_before.children_system
    measured, count = Measured(float(rate[1]), float(latency[1])), int(done[1])
    measured.database_us = (cluster.cpu_s() - database_before_s) / count * 1e6
    measured.client_us = client_s / count * 1e6
    return measured


def _syncs(work: Path, seconds: float = 1.0) -> float:
    """How often in a second this disk can be made to keep what was written."""
    with tempfile.TemporaryFile(dir=work) as file:
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
        return count / elapsed
