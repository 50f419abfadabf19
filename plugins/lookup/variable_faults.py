"""The lookup variable_faults: what is wrong with the variables that an inventory sets."""

from __future__ import annotations

DOCUMENTATION = r"""
name: variable_faults
short_description: What is wrong with the variables that an inventory sets
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Holds those that somebody has set, and that begin with a role's name, against the role's argument specs. Every role
    of a directory counts, so that a new one is known by being there.
  - Names each that the role does not know, each that is of another kind or value than its spec says, and each that
    holds what cannot be printed on one line.
  - A role's own defaults are not looked at, as they may ask what the host is.
options:
  _terms:
    description: Directories that hold roles.
    type: list
    elements: path
    required: true
  shared:
    description: What all roles share begins with C(endolab_); these are the names that there are.
    type: list
    elements: str
    default: []
  texts:
    description: Those of the dictionaries that may also be JSON in a text, as C(-e) gives them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
faults: "{{ query('endolab.active_learning.variable_faults', 'roles', shared=['endolab_registry']) }}"
"""

RETURN = r"""
_raw:
  description: Sentences; none where nothing is wrong.
  type: list
  elements: str
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.lookup import LookupBase
from ansible_collections.endolab.active_learning.plugins.plugin_utils.variables import misspelt, mistyped, unprintable

SHARED = "endolab"


def options_of(role: Path) -> dict[str, Any]:
    """The options of the role's argument spec."""
    specs = yaml.load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    options: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return options


def unknown(prefix: str, known: list[str], variables: Iterable[str]) -> list[str]:
    """Variables that begin with the prefix and are none of the known ones, each with what was probably meant."""
    names = [name for name in variables if name.startswith(f"{prefix}_")]
    found: list[str] = misspelt(names, known)
    return found


def faults(options: Mapping[str, Any], values: Mapping[str, Any], texts: list[str], host: str) -> Iterator[str]:
    """What is wrong with the values of one role's variables; of the first kind alone, as others follow from it."""
    if kinds := mistyped(values, options, texts):
        yield f"The inventory cannot be read as it is meant: {'; '.join(kinds)}."
    elif broken := unprintable(values):
        yield (
            f"{' and '.join(broken)} of {host} holds a line break, or another character that cannot be seen. Write it"
            " on one line, in quotes; behind `|` and `>` YAML keeps line breaks."
        )
    else:
        validator = ArgumentSpecValidator({name: options[name] for name in values})
        yield from validator.validate(dict(values)).error_messages


class LookupModule(LookupBase):  # type: ignore[misc]
    """Ansible's side of it."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        host = variables["inventory_hostname"]
        somebodys = variables["hostvars"][host]
        below = [path for directory in map(Path, terms) for path in sorted(directory.iterdir())]
        specs = {role.name: options_of(role) for role in below if (role / "meta").is_dir()}
        # Unless Ansible is told not to, it gives facts as variables, too.
        given = set(variables) - set(variables.get("ansible_facts", {}))
        strange = unknown(SHARED, self.get_option("shared"), given)
        for role, options in specs.items():
            strange += unknown(role, list(options), given)
        found = [f"The inventory sets variables that Endolab does not know: {'; '.join(strange)}."] if strange else []
        for options in specs.values():
            names = [name for name in options if name in somebodys]
            values = self._templar.template({name: variables[name] for name in names})
            found += faults(options, values, self.get_option("texts"), host)
        return found
