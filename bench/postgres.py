"""A private PostgreSQL cluster in a temporary folder, reached by a socket there alone, with its default settings."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from measure import ProgramFailed

CONNECTIONS_MAX = 300


def programs() -> Path | None:
    """The folder with `initdb` and the others, of the latest version on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


class Postgres:
    """A cluster that runs."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self.programs = programs
        self.folder = folder
        self.user = user
        self.environment = {
            **os.environ,
            "PGHOST": str(folder),
            "PGUSER": "bench",
            "PGDATABASE": "postgres",
            "LC_ALL": "C",
        }

    def run(self, program: str, *arguments: str, stdin: str | None = None) -> str:
        """Runs one of PostgreSQL's programs and gives what it printed."""
        command = [*as_user(self.user), str(self.programs / program), *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, env=self.environment, cwd=self.folder
        )
        if done.returncode != 0:
            raise ProgramFailed(f"{program}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def sql(self, text: str) -> str:
        """Runs statements, each in a transaction of its own."""
        return self.run("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", stdin=text)

    def times_ms(self, statements: Sequence[str]) -> list[float]:
        """How long each statement took until all its rows were there, on one connection, as psql tells it."""
        output = self.sql("\\timing on\n" + "".join(f"{statement};\n" for statement in statements))
        return [float(ms) for ms in re.findall(r"^Time: ([0-9.]+) ms", output, re.M)]

    def cpu_s(self) -> float:
        """The CPU time that all processes of the cluster have taken, those that have ended included."""
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        ticks = 0
        for place in Path("/proc").glob("[0-9]*"):
            try:
                fields = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                # It has ended in the meantime.
                continue
            if int(place.name) == postmaster:
                # And that of its children that have ended.
                ticks += sum(int(field) for field in fields[11:15])
            elif int(fields[1]) == postmaster:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def load(self, table: str, commands: Sequence[str]) -> None:
        """Fills a table with the CSV that a program prints."""
        copy = [*as_user(self.user), str(self.programs / "psql"), "-qX", "-c", f"COPY {table} FROM STDIN (FORMAT csv)"]
        with subprocess.Popen(commands, stdout=subprocess.PIPE) as rows:
            subprocess.run(copy, stdin=rows.stdout, check=True, env=self.environment, cwd=self.folder)
        if rows.returncode != 0:
            raise ProgramFailed(f"{commands[0]} ended with {rows.returncode}")


@contextmanager
def cluster(work: Path) -> Iterator[Postgres | None]:
    """A new cluster, gone at the end; nothing if PostgreSQL is not installed.

    It refuses to run as root: then it runs as `postgres` or `nobody`."""
    found = programs()
    user = _other_user()
    if found is None or (os.geteuid() == 0 and user is None):
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=work))
    try:
        if user:
            shutil.chown(folder, user)
        postgres = Postgres(found, folder, user)
        data = folder / "data"
        postgres.run("initdb", "--pgdata", str(data), "--username", "bench", "--auth", "trust", "--encoding", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c max_connections={CONNECTIONS_MAX}"
        log = str(folder / "log")
        postgres.run("pg_ctl", "--pgdata", str(data), "--log", log, "--wait", "--silent", "--options", options, "start")
        try:
            yield postgres
        finally:
            postgres.run("pg_ctl", "--pgdata", str(data), "--mode", "immediate", "--silent", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_user(user: str | None) -> list[str]:
    """What to put before a command so that another user runs it."""
    return ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"] if user else []


def _other_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)
