"""What Redis holds is read whole, and found again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from endolab_backup import queue

from tests.unit.backup.test_trees import read, write


def test_redis_finds_its_dump_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"dump.rdb": "REDIS old", "volume/dump.rdb": "new", "volume/appendonlydir/x.aof": "new"})
    monkeypatch.setattr(queue, "volume", lambda name: tmp_path / "volume")
    queue.fill("cvat_redis", tmp_path / "dump.rdb")
    assert read(tmp_path / "volume") == {
        "appendonlydir/appendonly.aof.1.base.rdb": "REDIS old",
        "appendonlydir/appendonly.aof.manifest": "file appendonly.aof.1.base.rdb seq 1 type b\n",
    }


@pytest.mark.parametrize(("program", "code"), [("redis-cli", 3), ("cat", 4), ("none", 0)])
def test_a_dump_that_is_not_whole_is_a_fault(tmp_path: Path, program: str, code: int) -> None:
    """The script's exit status is that of what failed in it, and it leaves nothing behind."""
    file = tmp_path / "endolab.rdb"
    write(tmp_path, {"redis-cli": f'#!/bin/sh\necho REDIS > "{file}"\n', "cat": '#!/bin/sh\nexec /bin/cat "$@"\n'})
    (tmp_path / program).write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
    for name in ("redis-cli", "cat"):
        (tmp_path / name).chmod(0o755)
    script = queue.DUMP.replace("/data/", f"{tmp_path}/").replace("/run/secrets/redis.conf", "/dev/null")
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, "" if code else "REDIS\n")
    assert not file.exists()
