"""The reference of plugins, a page for each kind of them, from the documentation that stands in each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tables import ROOT, kind, sentence, table

# What a page is called, and where its plugins lie.
KINDS = {"Modules": "modules", "Filters": "filter", "Tests": "test", "Lookups": "lookup", "Callbacks": "callback"}


def plugin_pages() -> dict[str, str]:
    """The pages as Markdown, by their places in the site."""
    return {
        f"reference/{title.lower()}.md": "\n\n".join(
            [f"# {title}", *(part for path in sorted((ROOT / "plugins" / of).glob("*.py")) for part in plugin(path))]
        )
        for title, of in KINDS.items()
    }


def plugin(path: Path) -> Iterator[str]:
    """One plugin: what it is for, what it takes, how it is written, and what it returns."""
    texts = documentation(path)
    doc, returns = yaml.safe_load(texts["DOCUMENTATION"]), yaml.safe_load(texts.get("RETURN", ""))
    yield f"## {path.stem}"
    yield sentence([f"{doc['short_description']}.", sentence(doc["description"])])
    if modes := doc.get("attributes", {}).items():
        told = [f"| `{name}` | {mode['support']} | {sentence(mode['description'])} |" for name, mode in modes]
        yield "\n".join(["| mode | support | meaning |", "| --- | --- | --- |", *told])
    if "options" in doc:
        yield table(doc["options"], "parameter")
    if "EXAMPLES" in texts:
        yield f"```yaml\n{texts['EXAMPLES'].strip()}\n```"
    if returns:
        yield "\n".join(["| returned | type | meaning |", "| --- | --- | --- |", *returned(returns)])


def documentation(path: Path) -> dict[str, str]:
    """The texts DOCUMENTATION, EXAMPLES and RETURN of a plugin, which Ansible reads without running it, too."""
    return {
        target.id: str(node.value.value)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def returned(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """One Markdown row a value, what it contains below it."""
    for name, value in values.items():
        yield f"| `{prefix}{name}` | {kind(value)} | {sentence(value['description'])} |"
        yield from returned(value.get("contains", {}), f"{prefix}{name}.")
