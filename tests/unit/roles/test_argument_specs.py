"""argument_specs and defaults name the same variables, and say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted((Path(__file__).resolve().parents[3] / "roles").iterdir())


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


@pytest.fixture(params=ROLES, ids=lambda role: role.name)
def role(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def test_every_public_variable_is_specified(role: Path) -> None:
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    required = {name for name, option in options.items() if option.get("required")}
    assert set(load(role / "defaults/main.yml")) | required == set(options)
    assert all(name.startswith(f"{role.name}_") for name in options)


def test_every_default_in_the_specification_is_the_real_one(role: Path) -> None:
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    for name, value in load(role / "defaults/main.yml").items():
        if "{{" not in str(value):
            assert options[name].get("default", "") == value, name


def test_every_option_has_a_description_and_a_type(role: Path) -> None:
    def check(options: dict[str, Any]) -> None:
        for name, option in options.items():
            assert {"description", "type"} <= set(option), name
            check(option.get("options", {}))

    check(load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"])


def test_every_entry_point_has_the_same_specification(role: Path) -> None:
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    assert "preflight" in specs
    assert all(spec == specs["main"] for spec in specs.values())


def test_internal_variables_are_marked_as_such(role: Path) -> None:
    assert all(name.startswith(f"__{role.name}_") for name in load(role / "vars/main.yml"))


def test_tasks_main_is_a_table_of_contents(role: Path) -> None:
    for file in (role / "tasks").glob("*.yml"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= (40 if file.name == "main.yml" else 80), file
