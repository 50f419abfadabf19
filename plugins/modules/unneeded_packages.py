"""The module unneeded_packages: which of Endolab's packages a host can do without."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unneeded_packages
short_description: Which of Endolab's packages a host can do without
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Names those packages that may go because they were not there before, are Endolab's or came with Endolab's, and are
    needed by nothing that stays.
  - What was there before has lived without what it recommends; what somebody has installed since keeps that, too.
  - Removes nothing, and remembers what may go, so that a removal that was broken off is finished.
  - Of packages that were there before it marks those again as come with others that installing them has marked as
    wanted, with apt only.
options:
  names:
    description: Endolab's packages.
    type: list
    elements: str
    required: true
  found:
    description: What C(host_record) has written down before Endolab installed any.
    type: dict
    required: true
  memory:
    description: File that remembers what may go.
    type: path
    required: true
attributes:
  check_mode:
    description: Says which packages may go, and neither marks nor remembers any.
    support: full
"""

EXAMPLES = r"""
- name: Which packages nobody needs any more is known
  endolab.active_learning.unneeded_packages:
    names: [restic]
    found: {packages: [apt, dpkg], automatic: [], settings_only: []}
    memory: /var/lib/endolab/found/going.json
"""

RETURN = r"""
packages:
  description: The packages that may go.
  returned: success
  type: list
  elements: str
settings_stay:
  description: Of these the packages whose settings were there before, after a removal.
  returned: success
  type: list
  elements: str
needed:
  description: Endolab's packages that were not there before, and stay because something needs them.
  returned: success
  type: list
  elements: str
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.endolab.active_learning.plugins.module_utils.text import read

DPKG_FORMAT = "${Package}\t${db:Status-Status}\t${Provides}\t${Pre-Depends}, ${Depends}\t${Recommends}\n"
RPM_FORMAT = r"N %{NAME}\n[P %{PROVIDENAME}\n][R %{REQUIRENAME}\n][C %{RECOMMENDNAME}\n]"
RPM_FILES_FORMAT = r"N %{NAME}\n[P %{FILENAMES}\n]"

# A requirement is met by any of the packages of one set.
Needs = list[set[str]]


@dataclass
class Package:
    """What a package is called by others, what it needs, and what it is better with."""

    provides: set[str] = field(default_factory=set)
    requires: Needs = field(default_factory=list)
    recommends: Needs = field(default_factory=list)


def needs(text: str) -> Needs:
    """The requirements in one of dpkg's fields, without versions and architectures."""
    return [
        {re.sub(r"[\s:(\[<].*", "", name.strip()) for name in group.split("|")}
        for group in text.split(",")
        if group.strip()
    ]


def of_dpkg(shown: str) -> tuple[dict[str, Package], set[str]]:
    """The installed packages, and the names of those of which only the settings are there."""
    found: dict[str, Package] = {}
    settings_only = set()
    for line in shown.splitlines():
        name, status, provides, requires, recommends = line.split("\t")
        if status == "installed":
            also = {each for group in needs(provides) for each in group}
            found[name] = Package({name, *also}, needs(requires), needs(recommends))
        elif status == "config-files":
            settings_only.add(name)
    return found, settings_only


def of_rpm(shown: str) -> dict[str, Package]:
    """The installed packages."""
    found: dict[str, Package] = {}
    package = Package()
    for kind, _, value in (line.partition(" ") for line in shown.splitlines()):
        if kind == "N":
            package = found.setdefault(value, Package({value}))
        elif kind == "P":
            package.provides.add(value)
        else:
            (package.requires if kind == "R" else package.recommends).append({value})
    return found


def reached(start: set[str], step: Callable[[str], set[str]]) -> set[str]:
    """Everything that steps lead to, the start included."""
    found, todo = set(start), list(start)
    while todo:
        new = step(todo.pop()) - found
        found |= new
        todo += new
    return found


def unneeded(installed: dict[str, Package], before: set[str], ours: set[str], automatic: set[str]) -> set[str]:
    """The packages that were not there before, and that nothing needs that stays."""
    providers: dict[str, set[str]] = {}
    for name, package in installed.items():
        for each in package.provides:
            providers.setdefault(each, set()).add(name)

    def needed(name: str) -> set[str]:
        """What a package needs of what is new; what was there before has lived without what it is better with."""
        wanted = installed[name].requires + ([] if name in before else installed[name].recommends)
        answers = ({each for option in need for each in providers.get(option, ())} for need in wanted)
        return {each for options in answers if not options & before for each in options}

    roots = ours & set(installed) - before
    candidates = roots | reached(roots, needed) & automatic
    return candidates - reached(set(installed) - candidates, needed)


def only(names: Iterable[str], among: set[str]) -> list[str]:
    return sorted(set(names) & among)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "found": {"type": "dict", "required": True},
            "memory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )

    def output(*command: str) -> str:
        _, shown, _ = module.run_command(list(command), check_rc=True)
        return str(shown)

    memory, found = Path(module.params["memory"]), module.params["found"]
    ours = set(module.params["names"]) | set(json.loads(read(memory) or "[]"))
    before, left_before = set(found["packages"]), set(found["settings_only"])
    ask = from_apt if shutil.which("dpkg-query") else from_rpm
    installed, automatic, settings_only = ask(output, before)
    gone = unneeded(installed, before, ours, automatic)
    marks = only(found["automatic"], ours & before & set(installed) - automatic)
    if not module.check_mode:
        if marks:
            output("apt-mark", "auto", *marks)
        if gone:
            memory.write_text(json.dumps(sorted(gone)), encoding="utf-8")
    module.exit_json(
        changed=bool(marks),
        packages=sorted(gone | (settings_only & ours - left_before)),
        settings_stay=only(gone, left_before),
        needed=only(installed, ours - before - gone),
    )


def from_apt(output: Callable[..., str], before: set[str]) -> tuple[dict[str, Package], set[str], set[str]]:
    """The installed packages, those that came with others, and those of which only the settings are there."""
    installed, settings_only = of_dpkg(output("dpkg-query", "-W", "-f", DPKG_FORMAT))
    return installed, set(output("apt-mark", "showauto").split()), settings_only


def from_rpm(output: Callable[..., str], before: set[str]) -> tuple[dict[str, Package], set[str], set[str]]:
    """The same on the RHEL family, which keeps no settings of what is removed."""
    installed = of_rpm(output("rpm", "-qa", "--qf", RPM_FORMAT))
    new = sorted(set(installed) - before)
    # What needs a file needs its package.
    for name, package in of_rpm(output("rpm", "-q", "--qf", RPM_FILES_FORMAT, *new) if new else "").items():
        installed[name].provides |= package.provides
    wanted = output("dnf", "--quiet", "--cacheonly", "repoquery", "--installed", "--userinstalled", "--qf", "%{name}\n")
    return installed, set(installed) - set(wanted.split()), set()


if __name__ == "__main__":
    main()
