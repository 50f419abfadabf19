"""The filters of the collection."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.endolab.active_learning.plugins.filter.conf_value import conf_value
from ansible_collections.endolab.active_learning.plugins.filter.controller_path import controller_path
from ansible_collections.endolab.active_learning.plugins.filter.nested import nested
from ansible_collections.endolab.active_learning.plugins.filter.text_table import text_table


def test_yaml_types_become_the_text_that_monai_label_reads() -> None:
    assert conf_value(True) == "true"
    assert conf_value(10) == "10"
    assert conf_value(["a", "b"]) == "a,b"
    assert conf_value([{"name": "Tool"}]) == '[{"name": "Tool"}]'
    assert conf_value("") == ""


def test_rows_become_a_table_with_columns_below_each_other() -> None:
    rows = [{"id": 1, "name": "first", "more": True}, {"id": 20, "name": None}]
    assert text_table(rows, {"id": "task", "name": "name", "jobs": "jobs"}).splitlines() == [
        "task  name   jobs",
        "1     first  -",
        "20    -      -",
    ]
    assert text_table([], {"id": "task"}) == "task"


def test_paths_count_from_where_ansible_playbook_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    assert controller_path("lab/ca.pem") == str(tmp_path / "lab" / "ca.pem")
    assert controller_path("~/ca.pem") == str(home / "ca.pem")
    assert controller_path("/etc/ca.pem") == "/etc/ca.pem"


@pytest.mark.parametrize(
    ("directories", "others", "pairs"),
    [
        (["/srv/a", "/srv/ab"], ["/srv/b", "/srv/abc"], []),
        (["/srv/a/b/c"], ["/srv/a/"], ["/srv/a/b/c and /srv/a"]),
        (["/srv//a", "/srv/a"], ["/srv/a/b"], ["/srv/a and /srv/a/b"]),
        (["/srv/a"], ["/srv/a"], ["/srv/a and /srv/a"]),
    ],
)
def test_directories_that_lie_in_each_other_are_named(
    directories: list[str], others: list[str], pairs: list[str]
) -> None:
    assert nested(directories, others) == pairs
