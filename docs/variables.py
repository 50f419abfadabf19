"""Writes the table of variables in README.md from the roles' argument_specs.

Usage: python docs/variables.py           writes it
       python docs/variables.py --check   exits 1 when README.md says something else
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- variables: begin -->\n", "<!-- variables: end -->\n"


def sentence(description: str | list[str]) -> str:
    """A description as Markdown in one line; C(x) becomes `x`."""
    text = description if isinstance(description, str) else " ".join(description)
    return re.sub(r"C\(([^)]*)\)", r"`\1`", text).replace("|", "\\|").strip()


def shown(default: Any) -> str:
    """A default as one writes it in YAML, on one line."""
    return default if isinstance(default, str) else yaml.safe_dump(default, default_flow_style=True).split("\n")[0]


def rows(options: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """One Markdown row an option, its own options below it."""
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        choices = "; one of " + ", ".join(f"`{choice}`" for choice in option["choices"]) if "choices" in option else ""
        default = "**required**" if option.get("required") else shown(option.get("default", ""))
        yield f"| `{prefix}{name}` | {kind}{choices} | {default} | {sentence(option['description'])} |"
        yield from rows(option.get("options", {}), f"{prefix}{name}.")


def table() -> str:
    """The tables of all roles, as Markdown."""
    parts = []
    for specs in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        main = yaml.safe_load(specs.read_text(encoding="utf-8"))["argument_specs"]["main"]
        head = f"### {specs.parts[-3]}\n\n{main['short_description']}.\n\n"
        head += "| variable | type | default | meaning |\n| --- | --- | --- | --- |\n"
        parts.append(head + "\n".join(rows(main["options"])))
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes the table of variables in README.md from argument_specs.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when README.md says something else")
    readme = ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if parser.parse_args().check:
        if new != old:
            print("README.md is behind argument_specs: run `python docs/variables.py`", file=sys.stderr)
        return int(new != old)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
