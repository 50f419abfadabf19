"""What daemon.json says once settings are merged into it."""

from __future__ import annotations

from typing import Any


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`new` laid over `old`: dictionaries merged, lists united in order, other values replaced."""
    merged = dict(old)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            merged[key] = before + [item for item in value if item not in before]
        else:
            merged[key] = value
    return merged


def merge_with_defaults(
    old: dict[str, Any], settings: dict[str, Any], defaults: list[dict[str, Any]]
) -> dict[str, Any]:
    """`settings` merged into `old`, and each group of `defaults` of which it then says nothing."""
    merged = merge(old, settings)
    for group in defaults:
        if not group.keys() & merged.keys():
            merged = {**merged, **group}
    return merged
