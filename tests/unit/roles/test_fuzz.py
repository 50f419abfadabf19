"""Whatever somebody writes into a variable is refused by a sentence, or makes files that still say what they should."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.endolab.active_learning.plugins.lookup.variable_faults import faults
from ansible_collections.endolab.active_learning.plugins.test.image_name import image_name
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.roles.test_checks import CREDENTIALS, HOST, ROLES, ROOT, trusted, variables_of

OPTIONS: dict[str, dict[str, Any]] = {
    role: yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    for role in ROLES
}

# What breaks out of where it was put: of paths, of YAML, of shells, of Caddyfiles, of TOML, of XML, of logs.
TRICKS = [
    *["", " ", "\t", "\n", "a\nb", "\r\nX: y", "\x00", "..", "../../etc/passwd", "/", "//", "/a/../b", "~", "~root"],
    *["-", "--help", "$(reboot)", "`id`", "; reboot", "&& id", "| id", "> /x", "$HOME", "'", '"', "a'b", 'a"b', "\\"],
    *["\\n", "%s", "%", "#", "a #b", "{", "}", "{}", "{{", "{%", "}\nevil {\n}", "[", "]", "[1]", "*", "&a", "!x"],
    *["? x", "- x", "a: b", "null", "yes", "1", "0", "-1", "1e9", "0x10", "a b", "ü", "日本", "🙂", "\u202e", "\ufeff"],
    *["<x/>", "&amp;", "http://", "http://[", "https://a@b", "::1", "@", ":", "a:b:c", "x" * 5000, ",", "a,b"],
    *["127.0.0.1:99999", "host:port"],
]
TEXTS = st.one_of(st.sampled_from(TRICKS), st.text(max_size=40))
SCALARS = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False))
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)


def texts(default: str) -> st.SearchStrategy[str]:
    """Any texts, and what is right with something before or behind it."""
    return st.one_of(
        TEXTS, st.sampled_from(TRICKS).map(default.__add__), st.sampled_from(TRICKS).map(lambda x: x + default)
    )


def values(option: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of an option's type, and of any other."""
    kind = option["type"]
    if kind == "list":
        element = values({**option, "type": option.get("elements", "raw")})
        return st.one_of(st.lists(element, max_size=3), ANYTHING)
    if kind == "dict" and "options" in option:
        fields = {name: values(each) for name, each in option["options"].items()}
        return st.one_of(st.fixed_dictionaries({}, optional=fields), ANYTHING)
    if kind in ("int", "float"):
        return st.one_of(st.integers(-10, 70000), st.integers(), TEXTS, ANYTHING)
    return st.one_of(texts(str(option.get("default", ""))), ANYTHING)


# What a value must be at least that is let through, by the end of its variable's name.
ACCEPTED: dict[str, Callable[[Any], Any]] = {
    "_image": image_name,
    "engine_repository": re.compile(r"https?://\S+").fullmatch,
    "toolkit_repository": re.compile(r"https?://\S+").fullmatch,
    "backup_repository": re.compile(r"(/\S+|[a-z0-9]+:\S+)?").fullmatch,
    "_fingerprint": re.compile("[0-9A-F]{40}").fullmatch,
    "_dir": re.compile("/[^:\n]+").fullmatch,
    "_url": re.compile(r"https?://[^/\s]+").fullmatch,
    "_port": lambda value: 1 <= Decimal(value) <= 65535,
    "_timeout": lambda value: Decimal(value) > 0,
}


@functools.cache
def base() -> dict[str, Any]:
    """All variables of a lab as they are without anybody's doing."""
    variables: dict[str, Any] = {
        "inventory_hostname": "gpu1",
        "groups": {"cvat": ["gpu1"], "edge": ["gpu1"], "monailabel": ["gpu1"]},
        "group_names": ["cvat", "edge", "monailabel"],
        "__backup_settings": "{{ __backup_host_settings }}",
        "hostvars": {"gpu1": {}},
        "ansible_managed": "Managed",
        "ansible_check_mode": False,
        "ansible_facts": {"endolab_host": HOST},
        "__cvat_secrets_written": {"written": {f"/secrets/{name}/x": "1" for name in SECRETS}},
    }
    return dict(trusted({**variables, **variables_of(ROLES), **CREDENTIALS}))


SECRETS = ["backend", "postgres", "redis", "kvrocks", "clickhouse", "vector", "grafana"]


def refused(role: str, name: str, value: Any) -> str | None:
    """Why site.yml would refuse this value before it touches the host; None where it would not."""
    for sentence in faults(OPTIONS[role], {name: value}, ["monailabel_conf"], "gpu1"):
        return str(sentence)
    host = {**HOST, "ports": {**HOST["ports"], str(value): []}}
    variables = {**base(), name: value, "ansible_facts": {"endolab_host": host}}
    templar = Templar(loader=DataLoader(), variables=variables)
    variables["__monailabel_places"] = templar.template(variables["__monailabel_laid_out"])
    templar = Templar(loader=DataLoader(), variables=variables)
    for check in base().get(f"__{role}_host_checks", []) + base()[f"__{role}_checks"]:
        held, sentence = templar.template(check["that"]), templar.template(check["otherwise"])
        assert isinstance(held, bool), (check["name"], held)
        assert isinstance(sentence, str)
        if not held:
            return sentence
    return None


def rendered(role: str, template: str, **changes: Any) -> str:
    variables = {**base(), "ansible_search_path": [str(ROOT / "roles" / role)], **changes}
    lookup = trusted("{{ lookup('ansible.builtin.template', '" + template + "') }}")
    return str(Templar(loader=DataLoader(), variables=variables).template(lookup))


@pytest.mark.parametrize(
    ("role", "name"), [(role, name) for role, options in OPTIONS.items() for name in options], ids=lambda each: each
)
@settings(
    max_examples=settings().max_examples // 10, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_a_value_is_refused_or_stays_where_it_was_put(role: str, name: str, data: st.DataObject) -> None:
    value = data.draw(values(OPTIONS[role][name]))
    if refused(role, name, value) is not None:
        return
    for suffix, right in ACCEPTED.items():
        assert not name.endswith(suffix) or right(value), value
    for check in CHECKS[role]:
        check({name: value})


def compose_stays(changes: dict[str, Any]) -> None:
    content = yaml.safe_load(rendered("cvat", "compose.yml.j2", **changes))
    for service in content["services"].values():
        assert {"cap_drop", "security_opt", "image", "networks", "restart"} <= set(service)
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))
        assert "privileged" not in service


def lines_stay(role: str, template: str, changes: dict[str, Any]) -> None:
    """No value makes a line of its own, or a block."""
    for line in rendered(role, template, **changes).splitlines():
        assert line.isprintable() or "\t" in line


def hop_stays(changes: dict[str, Any]) -> None:
    """On a host whose edge is another."""
    groups = {"cvat": ["head"], "edge": ["head"], "monailabel": ["gpu1"]}
    known = {"gpu1": {}, "head": {"__hop_own_address": "head:8443"}}
    lines_stay("hop", "Caddyfile.j2", {**changes, "groups": groups, "hostvars": known, "__hop_own": ""})


def script_stays(changes: dict[str, Any]) -> None:
    script = rendered("monailabel", str(ROOT / "templates/run_monailabelinits.sh.j2"), **changes)
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CHECKS: dict[str, list[Any]] = {
    "firewall": [functools.partial(lines_stay, "firewall", "rules.nft.j2")],
    "docker_engine": [],
    "nvidia_container_toolkit": [],
    "backup": [functools.partial(lines_stay, "backup", "endolab-backup.timer.j2")],
    "cvat": [compose_stays],
    "edge": [functools.partial(lines_stay, "edge", "Caddyfile.j2")],
    "hop": [hop_stays],
    "monailabel": [script_stays],
}
