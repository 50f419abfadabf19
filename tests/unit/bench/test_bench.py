"""What the bench makes of its numbers: ratios, leads, rows beside those of the last result, and pictures."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import figures, learning, results, scoring, second_run
from bench.report import Row, beside, number, table


def frame(upstream: float, endolab: float, floor: float, weights: str = "trained") -> dict[str, Any]:
    seconds = {"upstream": upstream, "endolab": endolab, "floor": floor}
    return {
        "network": "bundle",
        "weights": weights,
        "seconds": {way: {"wall": value, "cpu": 2 * value} for way, value in seconds.items()},
    }


def turn(pool: int, way: str, labels: int, dice: float) -> dict[str, Any]:
    return {
        "pool": pool, "way": way, "labels": labels, "dice": dice, "unfamiliar dice": dice / 2, "unfamiliar labels": 1,
    }  # fmt: skip


def test_a_ratio_is_of_the_same_frame_and_no_slow_frame_spoils_it() -> None:
    (case,) = scoring.cases([frame(4, 2, 2), frame(40, 20, 20), frame(6, 2.2, 2)])
    assert case["endolab/floor"] == {"wall": 1.0, "cpu": 1.0}
    assert case["upstream/endolab"] == {"wall": 2.0, "cpu": 2.0}
    assert case["seconds"] == {"upstream": 6, "endolab": 2.2, "floor": 2}


def test_networks_and_weights_are_cases_of_their_own() -> None:
    found = scoring.cases([frame(4, 2, 2), frame(50, 2, 2, "untrained"), frame(4, 2, 2)])
    assert [(case["weights"], case["frames"]) for case in found] == [("trained", 2), ("untrained", 1)]


def test_agreement_is_that_of_ranks() -> None:
    assert scoring.agreement([1, 2, 3], [10, 200, 201]) == pytest.approx(1)
    assert scoring.agreement([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


def test_a_lead_is_the_mean_of_a_pool_s_turns_without_its_beginning() -> None:
    turns = [turn(0, way, 0, 0.9) for way in ("endolab", "random")]
    turns += [turn(0, "endolab", 8, 0.5), turn(0, "endolab", 16, 0.7), turn(0, "random", 8, 0.4)]
    turns += [turn(0, "random", 16, 0.6), turn(1, "endolab", 8, 0.5), turn(1, "random", 8, 0.8)]
    assert learning.ahead(turns, "endolab", "random") == pytest.approx([0.1, -0.3])


def test_a_curve_is_the_mean_of_the_pools() -> None:
    turns = [turn(0, "random", 8, 0.4), turn(1, "random", 8, 0.6), turn(0, "endolab", 8, 0.1)]
    assert learning.curve(turns, "random") == [
        {"labels": 8, "dice": 0.5, "unfamiliar dice": 0.25, "unfamiliar labels": 1}
    ]


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", 1.1, goal=1.2), True),
        (Row("a", 1.3, goal=1.2), False),
        (Row("a", 1.3, goal=1.2, more=True), True),
        (Row("a", 1.3), None),
    ],
)
def test_a_goal_is_the_most_or_the_least(row: Row, met: bool | None) -> None:
    assert row.met() is met


def test_a_row_stands_beside_what_was_committed() -> None:
    assert beside(Row("a", 3.0), {"a": 2.0}) == ("2", "+50%")
    assert beside(Row("a", 3.0), {"a": 0.0}) == ("0", "")
    assert beside(Row("a", 3.0), {"b": 2.0}) == ("", "")


def test_seconds_of_another_day_are_shown_and_not_compared() -> None:
    assert beside(Row("a", 3.0, compared=False), {"a": 2.0}) == ("2", "")


def test_numbers_have_three_digits_that_count() -> None:
    assert [number(value) for value in (1234.5, 30.0, 1.0512, 0.04567)] == ["1234", "30", "1.05", "0.0457"]


def test_a_table_says_which_goal_is_missed() -> None:
    console = Console(width=120)
    with console.capture() as said:
        console.print(table("scoring", [Row("slow", 2.0, goal=1.2), Row("quick", 1.1, goal=1.2)], {}, None))
    slow, quick = (line for line in said.get().splitlines() if "<=" in line)
    assert "NO" in slow
    assert "yes" in quick


def test_the_last_result_is_the_committed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "bench" / "results")
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "bench").mkdir()
    assert results.last("scoring") is None
    results.write("scoring", {"date": "then"})
    subprocess.run([*git, "add", "."], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "A result"], cwd=tmp_path, check=True)
    results.write("scoring", {"date": "now"})
    assert results.last("scoring") == {"date": "then"}


def test_the_price_of_a_run_is_that_of_its_dearest_host() -> None:
    runs = [{"wall": wall, "cpu": 4.0, "memory": 102400, "executions": {"a": 28, "b": 12}} for wall in (9.0, 8.0, 20.0)]
    assert second_run.summary(runs) == {"hosts": 2, "wall": 9.0, "cpu": 4.0, "memory": 100, "executions": 28}


def test_a_process_is_not_as_large_as_the_bench_that_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "print('PLAY RECAP\\na : ok=1 changed=0\\nModule executions on a: 1'); exit({})"
    monkeypatch.setattr(second_run, "command", lambda code, *_: [sys.executable, "-c", said.format(code)])
    large = bytearray(b"x" * 200_000_000)
    measured = second_run.run("0", [])
    assert len(large) > measured["memory"] * 1024
    assert measured["executions"] == {"a": 1}
    with pytest.raises(second_run.RunError, match="7 failed; its last lines:\nPLAY RECAP"):
        second_run.run("7", [])


def test_executions_are_read_from_what_the_callback_shows() -> None:
    said = "PLAY RECAP\nendolab-test : ok=3 changed=0\nModule executions on endolab-test: 28\n"
    assert second_run.EXECUTIONS.findall(said) == [("endolab-test", "28")]


def test_pictures_are_well_formed_and_say_their_words() -> None:
    bars = figures.bars("A & B", {"case": {"upstream": 4.0, "endolab": 2.0}}, "s")
    lines = figures.lines("Dice", {"endolab": [(0, 0.5), (8, 0.7)], "random": [(0, 0.5), (8, 0.5)]}, "labels")
    for picture, words in ((bars, {"A & B", "4.00 s", "2.00 s"}), (lines, {"endolab", "0.70", "labels"})):
        found = {each.text for each in ET.fromstring(picture).iter() if each.text}
        assert words <= found
