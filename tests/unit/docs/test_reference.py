"""The reference has every plugin, with all that it takes and returns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from reference import documentation, plugin, plugin_pages

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTED = [path for path in sorted((ROOT / "plugins").rglob("*.py")) if "DOCUMENTATION" in documentation(path)]


def test_the_reference_has_every_plugin() -> None:
    headings = re.findall(r"^## (.*)$", "\n".join(plugin_pages().values()), re.MULTILINE)
    assert sorted(headings) == sorted(path.stem for path in DOCUMENTED)


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda path: path.stem)
def test_the_reference_says_what_a_plugin_takes_and_returns(path: Path) -> None:
    told = "\n".join(plugin(path))
    options = yaml.safe_load(documentation(path)["DOCUMENTATION"]).get("options", {})
    returned = yaml.safe_load(documentation(path).get("RETURN", "")) or {}
    assert [name for name in [*options, *returned] if f"| `{name}` |" not in told] == []
    assert re.search(r"\b[A-Z]\([^)]*\)", re.sub(r"```.*?```", "", told, flags=re.DOTALL)) is None
