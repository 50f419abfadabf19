"""What can be wrong with the variables of an inventory, before anything is known of their hosts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# What a value of each type may be in YAML, and how to write it; other types are validated as they are.
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str, int, float), "a text; put it in quotes"),
    "int": ((int, float, str), "a number"),
    "float": ((int, float, str), "a number"),
    "bool": ((bool, int, str), "true or false"),
    "path": ((str,), "a path; put it in quotes"),
    "list": ((list, tuple), "a list, such as [this, that]"),
    "dict": ((Mapping,), "a dictionary, such as {this: that}"),
}

# Ends of the names of what may be of several lines.
ANYTHING = ("_password", "_ssh_key", "_known_hosts")


def misspelt(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The `names` that are not `known`, in order, each with the nearest known name where one is near."""
    known = list(known)
    found = []
    for name in sorted(set(names) - set(known)):
        nearest = difflib.get_close_matches(name, known, n=1)
        found.append(f"{name} (did you mean {nearest[0]}?)" if nearest else name)
    return found


def mistyped(values: Mapping[str, Any], options: Mapping[str, Any], texts: Sequence[str] = ()) -> list[str]:
    """A sentence for each value that is not of the kind that its argument spec's `options` name.

    Ansible's own validation takes what it can make into the right kind, a list from a text for example, and leaves the
    variable as it is; of a list where a number should be it makes an exception of Python's. `texts` are those of the
    dictionaries that may also be JSON in a text, as -e gives them. Passwords are judged, and never shown, by roles.
    """
    faults = []
    for name, value in sorted(values.items()):
        kinds, remedy = KINDS.get(options[name]["type"], ((object,), "something"))
        if value is None:
            faults.append(f"{name} is empty: give it a value, or leave it out")
        elif name.endswith("_password") or (name in texts and isinstance(value, str)):
            continue
        elif not isinstance(value, kinds) or (isinstance(value, bool) and not {bool, object} & set(kinds)):
            faults.append(f"{name} must be {remedy}")
    return faults


def holds(value: Any) -> bool:
    """Whether a text in the value, however deep, cannot be printed as one line."""
    if isinstance(value, str):
        return not value.isprintable()
    if isinstance(value, Mapping):
        return any(holds(key) or (not str(key).endswith("password") and holds(inner)) for key, inner in value.items())
    return isinstance(value, (list, tuple)) and any(map(holds, value))


def unprintable(values: Mapping[str, Any]) -> list[str]:
    """The names, sorted, of those that hold a line break or another control character.

    It would begin something else in the file that it is written to, and what cannot be seen cannot be checked.
    Passwords, and what is a file by itself, may hold anything.
    """
    return [name for name, value in sorted(values.items()) if not name.endswith(ANYTHING) and holds(value)]
