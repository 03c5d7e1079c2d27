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

CLIENT_BOUND_SHARE = 0.7
"""Above this share of one core the clients themselves hold the figure down."""

PGBENCH_TABLE = """
CREATE TABLE events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  date timestamptz NOT NULL DEFAULT now(),
  author text NOT NULL, key text NOT NULL, column_name text NOT NULL, value text)
"""
PGBENCH_SCRIPT = r"""\set key random(1, 1000000)
INSERT INTO events (author, key, column_name, value) VALUES ('ada', :key::text, 'species', 'edited');
"""


@dataclass
class Measured:
    """What a number of clients did."""

    per_second: float
    mean_ms: float
    latencies_ms: list[float] = field(default_factory=list)
    client_share: float = 0.0
    """The CPU time of the clients, as a share of one core."""
    server_share: float = 0.0
    """The same of the server."""


def lines(work: Path, settings: dict[str, Any]) -> Iterator[Line]:
    """Edits with each number of clients, Stet and pgbench in turns."""
    syncs = {"disk": [_syncs(work)]}
    yield Line("edits", "the disk", "4 kB appended and synced, one after the other", "/s", syncs, more_is_better=True)
    folder = work / "node-edits"
    shutil.rmtree(folder, ignore_errors=True)
    original = originals.generated(work, settings["rows"], 1)
    node = Node(folder, original)
    token = node.token()
    # Each edit is of a cell that was not edited before, so that each is logged.
    edits = Edits(original, token)
    with node.served() as (port, process), postgres.cluster(work) as cluster:
        if cluster is None:
            print("bench: pgbench is left out: PostgreSQL is not installed", file=sys.stderr)
        else:
            cluster.sql(PGBENCH_TABLE)
        client = first_rows(port, token)
        for clients in settings["clients"]:
            seconds = settings["seconds"]
            runs: dict[str, Callable[[], Measured]] = {
                "stet": partial(_stet, client, port, process, clients, seconds, edits)
            }
            if cluster is not None:
                runs["pgbench"] = partial(_pgbench, cluster, clients, seconds)
            yield from _lines(clients, measure.alternate(settings["rounds"], runs))
    shutil.rmtree(folder, ignore_errors=True)


def _lines(clients: int, runs: dict[str, list[Measured]]) -> Iterator[Line]:
    workload = f"{clients} client{'s' if clients > 1 else ''}"
    rate = {name: [run.per_second for run in of_name] for name, of_name in runs.items()}
    mean = {name: [run.mean_ms for run in of_name] for name, of_name in runs.items()}
    stet = runs["stet"]
    client_share = measure.median([run.client_share for run in stet])
    server_share = measure.median([run.server_share for run in stet])
    note = f"the server took {server_share:.0%} of a core, the measuring clients {client_share:.0%}"
    if client_share > CLIENT_BOUND_SHARE:
        note += ": they are the limit, the server could do more"
    yield Line("edits", workload, "durable edits", "/s", rate, ("pgbench",), more_is_better=True, notes=[note])
    yield Line("edits", workload, "latency, mean", "ms", mean, ("pgbench",))
    for what, share in (("median", 0.5), ("99th percentile", 0.99)):
        samples = {"stet": [measure.quantile(run.latencies_ms, share) for run in stet]}
        yield Line("edits", workload, f"latency, {what}", "ms", samples)


def _stet(client: Client, port: int, process: int, clients: int, seconds: float, edits: Edits) -> Measured:
    saved_before, cpu_before_s, started = _saved(client), cpu_s(process), time.perf_counter()
    measured = _run_load(port, clients, seconds, edits) if _load_program() else _drive(port, clients, seconds, edits)
    measured.server_share = (cpu_s(process) - cpu_before_s) / (time.perf_counter() - started)
    saved = _saved(client) - saved_before
    if saved < len(measured.latencies_ms):
        raise measure.ProgramFailed(f"of {len(measured.latencies_ms)} edits only {saved} were saved")
    return measured


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
    arguments = [str(port), BASE, str(clients), str(seconds), str(key), str(edits.rows), "species", f"edited {turn}"]
    environment = {**os.environ, "STET_TOKEN": edits.token}
    done = subprocess.run([_load_program() or "", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise measure.ProgramFailed(f"edit_load ended with {done.stderr.strip()}")
    told = json.loads(done.stdout)
    latencies_ms = told["latencies_ms"]
    edits.next_key += len(latencies_ms)
    mean_ms = sum(latencies_ms) / max(1, len(latencies_ms))
    return Measured(told["per_second"], mean_ms, latencies_ms, told["client_share"])


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
    return Measured(count / elapsed_s, sum(latencies_ms) / count, latencies_ms, own_cpu_s / elapsed_s)


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
    output = cluster.run(
        "pgbench", "--no-vacuum", "--protocol=prepared", "--file", str(script),
        "--client", str(clients), "--jobs", str(min(clients, 2)), "--time", str(duration),
    )  # fmt: skip
    rate = re.search(r"^tps = ([0-9.]+)", output, re.M)
    latency = re.search(r"^latency average = ([0-9.]+) ms", output, re.M)
    if rate is None or latency is None:
        raise measure.ProgramFailed(f"pgbench printed something else than expected:\n{output}")
    return Measured(float(rate[1]), float(latency[1]))


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
