"""A Stet node with one project, for measuring: made, filled, served and spoken to."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import measure
from originals import Original
from postgres import Postgres

PROJECT = "BENCH"
ORIGINAL = "rows"
WEBAPP = "correct"
EDITED = f"{PROJECT}.{ORIGINAL}_edited"
BASE = f"/api/v1/projects/{PROJECT}/webapps/{WEBAPP}"
START_TIMEOUT_S = 600.0

FILL_SCRIPT = """
import sqlite3, sys
import pyarrow.parquet
path, editlog, table = sys.argv[1:]
log = sqlite3.connect(path, isolation_level=None)
# Only while the log is filled, so that the benchmark does not wait for what it does not measure.
log.execute("PRAGMA synchronous = OFF")
log.execute("PRAGMA cache_size = -400000")
log.execute("BEGIN IMMEDIATE")
insert = (f'INSERT INTO "{table}" (id, "user", action, key, column_name, value, previous, batch_id, source, event_id) '
          "VALUES (?, 'ada', 'update', ?, ?, ?, ?, '00000000-0000-4000-8000-000000000000', 'import', ?)")
first = log.execute(f'SELECT coalesce(max(id), 0) FROM "{table}"').fetchone()[0]
columns = ["event", "key", "column_name", "value", "previous"]
with pyarrow.parquet.ParquetFile(editlog) as source:
    for batch in source.iter_batches(50_000, columns=columns):
        events, keys, names, values, before = (column.to_pylist() for column in batch.columns)
        log.executemany(insert, (
            (first + n, key, name, value, old, f"{n:08x}-0000-4000-8000-{n:012x}")
            for n, key, name, value, old in zip(events, keys, names, values, before)))
log.execute("COMMIT")
log.execute("PRAGMA wal_checkpoint(TRUNCATE)")
"""

ONE_ROW_SCRIPT = """
import sys
import duckdb
original, path = sys.argv[1:]
duckdb.execute(f"COPY (SELECT * FROM read_parquet('{original}') LIMIT 1) TO '{path}' (FORMAT parquet)")
"""


def program() -> str:
    """The server that is measured."""
    return os.environ["STET"]


class Node:
    """A node's folder."""

    def __init__(self, folder: Path, original: Original, database: Postgres | None = None) -> None:
        """Makes the node, with the original as its own data and an editlog without events: in the node's own SQLite file,
        or in a database."""
        self.folder = folder
        self.original = original
        self._run(
            ["init", "--node", str(folder), "--name", "Benchmark", "--admin", "ada"], "a passphrase to measure with\n"
        )
        data = folder / "data" / PROJECT
        data.mkdir(parents=True, exist_ok=True)
        self._write("project.toml", 'name = "Benchmark"\n')
        keys = ", ".join(f'"{key}"' for key in original.keys)
        self._write(f"datasets/{ORIGINAL}.toml", f'path = "{ORIGINAL}.parquet"\nkey = [{keys}]\n')
        editable = "".join(f'\n[[editable]]\ncolumn = "{column}"\n' for column in original.editable)
        self._write(f"webapps/{WEBAPP}.toml", f'original = "{ORIGINAL}"\n{editable}')
        place = data / f"{ORIGINAL}.parquet"
        if database:
            where = ["--host", str(database.folder), "--database", "postgres", "--user", "bench", "--no-password"]
            self._run(["connection", "add", "database", *where, "--node", str(folder)])
            table = f'connection = "database"\ntable = "{ORIGINAL}_editlog"\n'
            self._write(f"datasets/{ORIGINAL}_editlog.toml", table)
        # Opening a table makes its editlog. One row is enough for that; what Stet learnt of it is forgotten again.
        subprocess.run([sys.executable, "-c", ONE_ROW_SCRIPT, str(original.path), str(place)], check=True)
        if database:
            self._run(["editlog", "init", f"{PROJECT}.{ORIGINAL}", "--node", str(folder)])
        self._run(["check", "--node", str(folder)])
        place.unlink()
        shutil.rmtree(folder / "cache")
        (folder / "cache").mkdir()
        # The same file under another name: Stet never writes to an original.
        os.link(original.path, place)

    def build(self, mode: str) -> measure.Usage:
        """Builds the edited dataset, in a process of its own."""
        return measure.run([program(), "build", EDITED, "--mode", mode, "--node", str(self.folder), "--format", "json"])

    def edited(self) -> Path:
        """Where the edited dataset is."""
        return self.folder / "data" / PROJECT / f"{ORIGINAL}_edited.parquet"

    def output_in_folder(self) -> None:
        """Declares the edited dataset as a folder of Parquet files."""
        self._write(f"datasets/{ORIGINAL}_edited.toml", f'path = "{ORIGINAL}_edited_parts.parquet/"\n')

    def fill(self, editlog: Path) -> None:
        """Writes the edits of a Parquet editlog into the node's own, which has to be there."""
        arguments = [str(self._editlog()), str(editlog), f"{ORIGINAL}_editlog"]
        subprocess.run([sys.executable, "-c", FILL_SCRIPT, *arguments], check=True)

    def add_edit(self, key: str, column: str, value: str) -> None:
        """Adds one event to the log."""
        with sqlite3.connect(self._editlog()) as log:
            (last,) = log.execute(f'SELECT coalesce(max(id), 0) FROM "{ORIGINAL}_editlog"').fetchone()
            event = f"{last + 1:08x}-0000-4000-9000-{last + 1:012x}"
            log.execute(
                f'INSERT INTO "{ORIGINAL}_editlog" '
                '(id, "user", action, key, column_name, value, batch_id, source, event_id) '
                "VALUES (?, 'ada', 'update', ?, ?, ?, '00000000-0000-4000-8000-000000000001', 'api', ?)",
                (last + 1, key, column, value, event),
            )
        log.close()

    def token(self) -> str:
        """A token to sign in with."""
        return self._run(["token", "add", "ada", f"bench-{time.time_ns()}", "--node", str(self.folder)]).strip()

    @contextmanager
    def served(self) -> Iterator[tuple[int, int]]:
        """Serves the node: gives the port and the process, which is stopped at the end. Does not wait for it."""
        port = free_port()
        command = [program(), "serve", "--node", str(self.folder), "--listen", f"127.0.0.1:{port}", "--log", "error"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield port, server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def _editlog(self) -> Path:
        return self.folder / "data" / PROJECT / "editlog.sqlite"

    def _write(self, name: str, text: str) -> None:
        path = self.folder / "projects" / PROJECT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _run(self, arguments: list[str], stdin: str = "") -> str:
        done = subprocess.run([program(), *arguments], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise measure.ProgramFailed(f"stet {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


class Client:
    """One connection to the server that stays open."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None) -> tuple[float, bytes]:
        """Sends a request; gives the milliseconds until the answer was there, and the answer, not yet parsed."""
        data = None if body is None else json.dumps(body).encode()
        started = time.perf_counter()
        self.connection.request(method, path, data, self.headers)
        response = self.connection.getresponse()
        answer = response.read()
        elapsed_ms = (time.perf_counter() - started) * 1000
        if response.status != 200:
            raise measure.ProgramFailed(f"{method} {path}: {response.status} {answer[:500]!r}")
        return elapsed_ms, answer

    def page(self, query: dict[str, object]) -> tuple[float, bytes]:
        """Asks for rows of the webapp."""
        return self.ask("POST", f"{BASE}/rows/query", {"limit": 200, **query})

    def server_seconds(self, route: str) -> tuple[float, int]:
        """The seconds that the server itself counted for a route until now, and the number of its requests."""
        text = self.ask("GET", "/metrics")[1].decode()
        sums = re.findall(rf'^stet_http_request_seconds_sum{{.*route="[^"]*{route}",status="200"}} (\S+)', text, re.M)
        counts = re.findall(
            rf'^stet_http_request_seconds_count{{.*route="[^"]*{route}",status="200"}} (\S+)', text, re.M
        )
        return sum(map(float, sums)), sum(map(int, counts))


def first_rows(port: int, token: str) -> Client:
    """Waits until the server gives the first rows of the webapp, as a person who opens the page does."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        client = Client(port, token)
        try:
            client.ask("GET", BASE)
            client.page({"offset": 0})
            return client
        except (ConnectionError, http.client.HTTPException):
            # It does not listen yet.
            time.sleep(0.002)
        except measure.ProgramFailed as error:
            # While a large original is read for the first time, a request may end before it does.
            if " 503 " not in str(error) and " 504 " not in str(error) and " 408 " not in str(error):
                raise
        if time.monotonic() > deadline:
            raise measure.ProgramFailed(f"the server gave no rows within {START_TIMEOUT_S:.0f} s")


def cpu_s(process: int) -> float:
    """The CPU time that a process has taken, user and system."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
