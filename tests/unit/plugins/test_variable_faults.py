"""The lookup variable_faults: what is wrong with the variables of an inventory, and how it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.endolab.active_learning.plugins.plugin_utils.variables import misspelt

TEXT = '{"epistemic_top_k": 5}'
ROLES = Path(__file__).resolve().parents[3] / "roles"


def faults(somebodys: dict[str, Any], roles: Path = ROLES, **defaults: Any) -> list[str]:
    """What a host's variables have, of which a role brings the defaults itself."""
    variables = {
        **defaults,
        **somebodys,
        "inventory_hostname": "gpu1",
        "hostvars": {"gpu1": somebodys},
        "roles": str(roles),
    }
    templar = Templar(loader=DataLoader(), variables=variables)
    asked = "'endolab.active_learning.variable_faults', roles, shared=['endolab_registry'], texts=['monailabel_conf']"
    found: list[str] = templar.template(trust_as_template(f"{{{{ query({asked}) }}}}"))
    return found


def test_a_misspelt_name_comes_with_what_was_meant() -> None:
    assert misspelt(["edge_port", "edge_http_port", "xyz"], ["edge_http_port"]) == [
        "edge_port (did you mean edge_http_port?)",
        "xyz",
    ]
    assert misspelt(["edge_http_port"], ["edge_http_port"]) == []


def test_nothing_is_wrong_with_what_is_right() -> None:
    own = trust_as_template("{{ 8000 + 443 }}")
    assert faults({"edge_https_port": own, "endolab_registry": "", "monailabel_conf": TEXT, "other_x": 1}) == []


@pytest.mark.parametrize(
    ("somebodys", "sentence"),
    [
        (
            {"edge_https_prot": 1, "endolab_registri": "x"},
            "The inventory sets variables that Endolab does not know: endolab_registri (did you mean endolab_registry?)"
            "; edge_https_prot (did you mean edge_https_port?).",
        ),
        (
            {"edge_https_port": [1], "monailabel_gpus": "all"},
            "The inventory cannot be read as it is meant: edge_https_port must be a number.",
        ),
        (
            {"edge_name": None},
            "The inventory cannot be read as it is meant: edge_name is empty: give it a value, or leave it out.",
        ),
        (
            {"edge_name": "a\nb"},
            "edge_name of gpu1 holds a line break, or another character that cannot be seen. Write it on one line, in"
            " quotes; behind `|` and `>` YAML keeps line breaks.",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_is_wrong_is_said(somebodys: dict[str, Any], sentence: str) -> None:
    assert faults(somebodys) == [sentence]


def test_a_value_that_the_spec_does_not_list_is_refused() -> None:
    (sentence,) = faults({"edge_certificate": "none"})
    assert "value of edge_certificate must be one of" in sentence


def test_a_roles_own_defaults_are_not_looked_at() -> None:
    """They may ask what the host is, which is not known yet."""
    assert faults({}, edge_https_port=trust_as_template("{{ not_known_yet }}")) == []


def test_a_role_is_known_by_being_there_and_nothing_else_is_one(tmp_path: Path) -> None:
    spec = tmp_path / "door/meta/argument_specs.yml"
    spec.parent.mkdir(parents=True)
    spec.write_text("argument_specs: {main: {options: {door_name: {type: str}}}}", encoding="utf-8")
    (tmp_path / ".DS_Store").touch()
    (sentence,) = faults({"door_nam": "x", "edge_nam": "x", "door_name": "x"}, roles=tmp_path)
    assert sentence.endswith("that Endolab does not know: door_nam (did you mean door_name?).")


def test_facts_that_ansible_gives_as_variables_are_nobodys() -> None:
    assert faults({}, ansible_facts={"endolab_host": {}}, endolab_host={}) == []
