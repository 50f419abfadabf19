"""Writes what is said elsewhere: tables of variables, platforms, privileges and metrics, and CHANGELOG.md.

Usage: python docs/tables.py           writes them
       python docs/tables.py --check   exits 1 when a file says something else
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from changelog import changelog

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "apps" / "endoscopy"))

from endolab_loop.metrics import METRICS  # noqa: E402


def sentence(description: str | list[str]) -> str:
    """A description as Markdown in one line; what Ansible marks, such as C(x) and O(x), becomes `x`."""
    text = description if isinstance(description, str) else " ".join(description)
    return re.sub(r"\b[CEIMOV]\(([^)]*)\)", r"`\1`", text).replace("|", "\\|").strip()


def shown(default: Any) -> str:
    """A default as one writes it in YAML, on one line."""
    text = default if isinstance(default, str) else yaml.safe_dump(default, default_flow_style=True).split("\n")[0]
    return sentence(text).replace("*", "\\*")


def kind(value: dict[str, Any]) -> str:
    """The type of an option, or of a value."""
    return str(value["type"]) + (f" of {value['elements']}" if "elements" in value else "")


def rows(options: dict[str, Any], prefix: str = "", told: frozenset[int] = frozenset()) -> Iterator[str]:
    """One Markdown row an option, its own options below it, unless they are those of one before."""
    for name, option in options.items():
        choices = "; one of " + ", ".join(f"`{choice}`" for choice in option["choices"]) if "choices" in option else ""
        default = "**required**" if option.get("required") else shown(option.get("default", ""))
        yield f"| `{prefix}{name}` | {kind(option)}{choices} | {default} | {sentence(option['description'])} |"
        own = option.get("options") or option.get("suboptions", {})
        if id(own) not in told:
            yield from rows(own, f"{prefix}{name}.", told)
        # An alias in YAML is the same object.
        told |= {id(own)}


def specs(role: str) -> dict[str, Any]:
    """What a role's argument specs say of its main entry point."""
    path = ROOT / "roles" / role / "meta/argument_specs.yml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"])


def table(options: dict[str, Any], what: str = "variable") -> str:
    """Options as Markdown, below what they are called."""
    return "\n".join([f"| {what} | type | default | meaning |", "| --- | --- | --- | --- |", *rows(options)])


def role_tables() -> dict[str, str]:
    """What each role is, and the table of its variables, as Markdown."""
    roles = sorted(path.parts[-3] for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
    return {role: f"{(main := specs(role))['short_description']}.\n\n{table(main['options'])}" for role in roles}


def variables() -> str:
    """The tables of all roles, as Markdown."""
    return "\n\n".join(f"### {role}\n\n{text}" for role, text in role_tables().items())


def conf_keys() -> str:
    """What the app's keys are, and their table, as Markdown."""
    conf = specs("monailabel")["options"]["monailabel_conf"]
    return f"{sentence(conf['description'])}\n\n{table(conf['options'])}"


def privileges() -> str:
    """What containers may do beyond what every one may, as Markdown."""
    known = yaml.safe_load((ROOT / "playbooks/vars/privileges.yml").read_text(encoding="utf-8"))["privileges"]
    lines = [f"| `{each['container']}` | {each['exception']} | {each['reason']} |" for each in known]
    return "\n".join(["| container | exception | reason |", "| --- | --- | --- |", *lines])


def metrics() -> str:
    """The metrics of a loop, as Markdown."""
    labels = {metric.name: ", ".join(f"`{label}`" for label in metric.labels) for metric in METRICS}
    lines = [f"| `{each.name}` | {each.kind} | {labels[each.name]} | {each.meaning} |" for each in METRICS]
    return "\n".join(["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *lines])


def platforms() -> str:
    """Which operating systems are tested, expected to do, and refused, as Markdown."""
    known = yaml.safe_load((ROOT / "tests/fixtures/platforms.yml").read_text(encoding="utf-8"))
    columns = {
        "docker": "Docker's own packages",
        "distribution": "the distribution's, without a GPU",
        "distribution_gpu": "the distribution's, with a GPU",
    }
    lines = [f"| {system['name']} | {' | '.join(system[column] for column in columns)} |" for system in known]
    return "\n".join([f"| | {' | '.join(columns.values())} |", "| --- " * (len(columns) + 1) + "|", *lines])


def with_table(name: str, table: Callable[[], str], text: str) -> str:
    """A file's text with its table between the two marks."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{table()}\n\n{end}{after}"


# Each file, and what makes its text of the present one.
WRITTEN: dict[str, list[Callable[[str], str]]] = {
    "README.md": [partial(with_table, "platforms", platforms), partial(with_table, "variables", variables)],
    "docs/privileges.md": [partial(with_table, "privileges", privileges)],
    "docs/monitoring.md": [partial(with_table, "metrics", metrics)],
    "CHANGELOG.md": [lambda _: changelog(ROOT)],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=f"Writes what {', '.join(WRITTEN)} say after others.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file says something else")
    check = parser.parse_args().check
    behind = False
    for name, written in WRITTEN.items():
        old = new = (ROOT / name).read_text(encoding="utf-8")
        for part in written:
            new = part(new)
        if new != old and check:
            print(f"{name} is behind what it is written from: run `python docs/tables.py`", file=sys.stderr)
        elif new != old:
            (ROOT / name).write_text(new, encoding="utf-8")
        behind |= new != old
    return int(check and behind)


if __name__ == "__main__":
    sys.exit(main())
