"""CVAT's database: dumped as it is at one moment, and brought back beside the one in use."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .settings import PATIENCE, Fault, last_words, running, until_ready

# The image makes the database's owner, and lets everybody in over its socket, which is the container's own.
NAME = "cvat"
LOGIN = ["-U", NAME]
RESTORED, REPLACED = "cvat_restored", "cvat_replaced"

TABLES = "SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public' ORDER BY relname"

# Rows and the sum of parts of their MD5s: the same rows in any order have the same.
CONTENT = (
    "SELECT count(*), coalesce(sum(('x' || left(md5(whole_row::text), 15))::bit(60)::bigint), 0) "
    'FROM public."{}" AS whole_row'
)

END = "end of answer"


class Session:
    """One connection to a database, that of psql in PostgreSQL's container."""

    def __init__(self, container: str, name: str = NAME) -> None:
        command = ["docker", "exec", "-i", container, "psql", *LOGIN, "-d", name, "-XqAt", "-v", "ON_ERROR_STOP=1"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ask(self, statement: str) -> list[list[str]]:
        """The rows that PostgreSQL answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        try:
            self.process.stdin.write(f"{statement};\n\\echo {END}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its last words say why
        rows: list[list[str]] = []
        for line in self.process.stdout:
            if line.rstrip("\n") == END:
                return rows
            rows.append(line.rstrip("\n").split("|"))
        words = last_words(self.process.stderr.read())
        raise Fault(f"PostgreSQL did not answer: {words}. See `docker logs cvat-db-1`")

    def close(self) -> None:
        self.process.communicate()


def session(container: str, name: str = NAME) -> closing[Session]:
    """A connection for as long as a `with` lasts."""
    return closing(Session(container, name))


@contextmanager
def moment(container: str) -> Iterator[tuple[Session, str]]:
    """A session that sees the database as it is now, and the name by which others see it so, too."""
    with session(container) as opened:
        opened.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield opened, opened.ask("SELECT pg_export_snapshot()")[0][0]


def content(opened: Session) -> dict[str, dict[str, Any]]:
    """What each table holds."""
    found = {}
    opened.ask("SET TIME ZONE 'UTC'")
    for (table,) in opened.ask(TABLES):
        ((rows, content),) = opened.ask(CONTENT.format(table))
        found[table] = {"rows": int(rows), "content": content}
    return found


def wait(container: str, seconds: float = PATIENCE) -> None:
    """Waits until PostgreSQL answers: a host that has just started makes up for a missed archive at once."""
    until_ready(["docker", "exec", container, "pg_isready", *LOGIN, "-d", NAME], "PostgreSQL", container, seconds)


def dump(container: str, seen_as: str, path: Path) -> None:
    """Writes the database as `seen_as` sees it; not compressed, so that the archive finds what is the same."""
    command = ["docker", "exec", container, "pg_dump", *LOGIN, "-d", NAME, "-Fc", "-Z0", f"--snapshot={seen_as}"]
    with path.open("wb") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Fault(f"the database could not be dumped: {last_words(done.stderr)}")


def _administer(container: str, *statements: str) -> None:
    with session(container, "postgres") as opened:
        for statement in statements:
            opened.ask(statement)


def stage(container: str, path: Path) -> dict[str, dict[str, Any]]:
    """Makes a database beside CVAT's from a dump; returns what its tables hold."""
    _administer(container, f"DROP DATABASE IF EXISTS {RESTORED}", f"CREATE DATABASE {RESTORED} OWNER {NAME}")
    command = ["docker", "exec", "-i", container, "pg_restore", *LOGIN, "-d", RESTORED, "--exit-on-error", "--no-owner"]
    with path.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Fault(f"the database cannot be brought back: {last_words(done.stderr)}")
    with session(container, RESTORED) as opened:
        return content(opened)


def databases(container: str) -> set[str]:
    with session(container, "postgres") as opened:
        return {row[0] for row in opened.ask("SELECT datname FROM pg_database")}


def swap(container: str) -> None:
    """Puts the staged database in the place of CVAT's; can be repeated."""
    known = databases(container)
    if RESTORED not in known:
        return
    if NAME in known:
        _administer(
            container,
            f"DROP DATABASE IF EXISTS {REPLACED}",
            f"ALTER DATABASE {NAME} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{NAME}'",
            f"ALTER DATABASE {NAME} RENAME TO {REPLACED}",
        )
    _administer(container, f"ALTER DATABASE {RESTORED} RENAME TO {NAME}")


def clear(container: str) -> None:
    """Removes a database that was replaced, or only staged."""
    if running([container]):
        _administer(container, f"DROP DATABASE IF EXISTS {REPLACED}", f"DROP DATABASE IF EXISTS {RESTORED}")


def tasks(container: str) -> int:
    """How many tasks CVAT has; none where its database is empty."""
    with session(container) as opened:
        if opened.ask("SELECT to_regclass('public.engine_task')") == [[""]]:
            return 0
        return int(opened.ask("SELECT count(*) FROM engine_task")[0][0])
