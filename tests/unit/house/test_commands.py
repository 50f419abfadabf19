"""`make` lists all that it can do, and the hooks of pre-commit ask what `make lint` asks, with what is installed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.run import HOOKS, LINT, ROOT

LINTERS = {"ansible-lint", "antsibull-changelog", "antsibull-docs", "mypy", "ruff", "yamllint"}


def test_every_target_has_a_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z.-]+):(?!=)", makefile, re.MULTILINE)
    helped = re.findall(r"^([a-z.-]+):.* ## \S", makefile, re.MULTILINE)
    assert "help" in targets
    assert targets == helped, f"`make help` lacks {set(targets) - set(helped)}: write ` ## What it does` behind them."


def test_every_linter_that_is_pinned_is_asked() -> None:
    pinned = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements-dev.in").read_text(encoding="utf-8"), re.MULTILINE))
    assert pinned >= {"pre-commit", *LINTERS}
    assert {command[0] for command in LINT} >= LINTERS


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: str(hook["id"]))
def test_a_hook_needs_no_network_and_judges_the_whole_tree(hook: dict[str, Any]) -> None:
    assert hook["language"] == "system"
    assert hook["pass_filenames"] is False


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("tests/run.py", {"ruff-check", "ruff-format", "mypy"}),
        (
            "plugins/modules/files.py",
            {"ruff-check", "ruff-format", "mypy", "ansible-lint", "syntax-check", "tables", "antsibull-docs", "mkdocs"},
        ),
        ("roles/edge/tasks/main.yml", {"yamllint", "ansible-lint", "syntax-check"}),
        (
            "roles/edge/meta/argument_specs.yml",
            {"yamllint", "ansible-lint", "syntax-check", "tables", "antsibull-docs", "mkdocs"},
        ),
        ("roles/edge/templates/Caddyfile.j2", {"ansible-lint", "syntax-check"}),
        ("changelogs/fragments/site.yml", {"yamllint", "ansible-lint", "changelog", "tables"}),
        ("README.md", {"tables", "mkdocs"}),
        ("pyproject.toml", {"ruff-check", "ruff-format", "mypy"}),
        ("LICENSE", set()),
    ],
)
def test_a_commit_is_asked_for_what_it_touches(path: str, asked: set[str]) -> None:
    assert (ROOT / path).is_file()
    assert {hook["id"] for hook in HOOKS if re.search(hook["files"], path)} == asked
