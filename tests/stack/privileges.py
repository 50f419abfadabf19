"""What containers may do beyond what every one may, as it runs and as docs/privileges.md says."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from ansible_collections.endolab.active_learning.plugins.module_utils.privileges import exceptions
from docker.models.containers import Container

from tests.stack.conftest import ROOT

TABLE = re.compile(r"^\| `(?P<container>[^`]+)` \| (?P<exception>[^|]+) \| (?P<reason>[^|]+) \|$", re.M)


def documented(names: Iterable[str]) -> set[tuple[str, str]]:
    """Container and exception of each line of the table; a star stands for several of these containers."""
    rows = TABLE.findall((ROOT / "docs" / "privileges.md").read_text(encoding="utf-8"))
    assert rows
    assert all(reason.strip() for _, _, reason in rows)
    return {(name, exception) for pattern, exception, _ in rows for name in fnmatch.filter(names, pattern)}


def running(containers: dict[str, Container]) -> set[tuple[str, str]]:
    """The same of what runs."""
    return {(name, each) for name, container in containers.items() for each in exceptions(container.attrs)}
