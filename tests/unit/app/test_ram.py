"""Memory that is left, where a container has a limit and where it has none."""

from __future__ import annotations

from pathlib import Path

from endolab_loop import ram

MEMINFO = "MemTotal:       24000000 kB\nMemAvailable:   20000000 kB\nHugePages_Total:       0\n"


def left(folder: Path, **control_group: str) -> int:
    (folder / "meminfo").write_text(MEMINFO)
    for name, text in control_group.items():
        (folder / f"memory.{name}").write_text(text)
    return ram.left(folder, folder)


def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path) -> None:
    assert left(tmp_path) == 20_480_000_000
    assert left(tmp_path, max="max\n") == 20_480_000_000


def test_a_limit_counts_what_is_used_but_not_what_is_kept_of_files(tmp_path: Path) -> None:
    used = {"current": "6000000000\n", "stat": "anon 1000000000\ninactive_file 4000000000\n"}
    assert left(tmp_path, max="8000000000\n", **used) == 6_000_000_000
    assert left(tmp_path, max="80000000000\n", **used) == 20_480_000_000


def test_this_machine_has_some() -> None:
    assert ram.left() > 0
