"""Redis, which holds CVAT's queues, and kvrocks, which holds chunks of frames that CVAT makes again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .directories import remove
from .settings import PATIENCE, Fault, until_ready, volume

# On standard input in both, as an environment that held the password could be read.
# While Redis reads its files it answers, but not this.
READY = "sed -n 's/^requirepass /AUTH /p; $aPING' /run/secrets/redis.conf | redis-cli | grep PONG"

# To a file: what redis-cli writes to its output ends with a mark of the protocol.
DUMP = """set -e
trap 'rm -f /data/endolab.rdb' EXIT
sed -n 's/^requirepass //p' /run/secrets/redis.conf | redis-cli --askpass --rdb /data/endolab.rdb >&2
cat /data/endolab.rdb"""


def wait(container: str, seconds: float = PATIENCE) -> None:
    """Waits until Redis answers."""
    until_ready(["docker", "exec", container, "sh", "-c", READY], "Redis", container, seconds)


def dump(container: str, path: Path) -> None:
    """Writes what Redis holds."""
    with path.open("wb") as file:
        done = subprocess.run(
            ["docker", "exec", container, "sh", "-c", DUMP], stdout=file, stderr=subprocess.PIPE, check=False
        )
    if done.returncode or path.read_bytes()[:5] != b"REDIS":
        raise Fault(f"what Redis holds could not be read: {done.stderr.decode(errors='replace').strip()}")


def _empty(name: str) -> Path:
    """The directory of a volume, with nothing in it."""
    directory = volume(name)
    if not directory:
        raise Fault(f"there is no volume {name}; run site.yml first")
    for entry in directory.iterdir():
        remove(entry)
    return directory


def fill(name: str, dumped: Path) -> None:
    """Makes a dump the base of Redis's append-only files, which it reads where it keeps such files."""
    directory = _empty(name)
    status = directory.stat()
    base, files = "appendonly.aof.1.base.rdb", directory / "appendonlydir"
    files.mkdir()
    shutil.copyfile(dumped, files / base)
    (files / "appendonly.aof.manifest").write_text(f"file {base} seq 1 type b\n", encoding="ascii")
    for path in (files, *files.iterdir()):
        shutil.chown(path, status.st_uid, status.st_gid)


def forget_chunks(name: str) -> None:
    """Empties kvrocks: a database that was brought back gives away again the ids that its chunks are known by."""
    if volume(name):
        _empty(name)
