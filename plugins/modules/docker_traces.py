"""The module docker_traces: what Docker leaves in the kernel when it stops, taken away."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_traces
short_description: What Docker leaves in the kernel when it stops, taken away
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Unmounts what Docker has mounted, and takes away its bridges, its rules and chains in iptables, and the policy
    that it has set there.
  - Turns forwarding off again where it was off, unless a file of sysctl's asks for it or another bridge may need it.
  - For a host that Docker was installed on, and is taken off again.
options:
  found:
    description: The network, as C(host_record) has written it down before Docker was there.
    type: dict
    required: true
  directories:
    description: Docker's directories; what is mounted below them is unmounted.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Says whether there is something to take away.
    support: full
"""

EXAMPLES = r"""
- name: Nothing of Docker's is left in the kernel
  endolab.active_learning.docker_traces:
    found: {links: [lo, eth0], forwarding: {net/ipv4/ip_forward: "0"}, iptables: {}, ip6tables: {}}
"""

RETURN = r"""
traces:
  description: What was taken away, or would be.
  returned: success
  type: list
  elements: str
"""

import re
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.endolab.active_learning.plugins.module_utils.iptables import saved, tables
from ansible_collections.endolab.active_learning.plugins.module_utils.text import read

DOCKERS = re.compile(r"docker0|br-[0-9a-f]{12}")
FAMILIES = {"iptables": "ip", "ip6tables": "ip6"}
SYSCTL_DIRECTORIES = ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"]


def without_docker(text: str, found: dict[str, dict[str, str]]) -> str:
    """The lines for iptables-restore that take away what is Docker's of what iptables-save prints, if there is any."""
    lines: list[str] = []
    for table, block in tables(text).items():
        policies = dict(re.findall(r"^:(\S+) ([A-Z]+) ", block, re.M))
        before = found.get(table, {})
        chains = [each for each in re.findall(r"^:(DOCKER\S*) -", block, re.M) if each not in before]
        was = before.get("FORWARD", "ACCEPT")
        # Docker closes forwarding when it opens it to its own containers.
        closed = [f":FORWARD {was} [0:0]"] if chains and policies.get("FORWARD", was) != was else []
        links = r"-[io] (?:docker0|br-[0-9a-f]{12})"
        leads = "|".join([links, *(f"-j {re.escape(each)}" for each in chains)])
        # Those in its own chains go with these.
        own = "|".join(map(re.escape, chains)) or "(?!)"
        rules = re.findall(rf"^-A ((?!(?:{own}) ).* (?:{leads})(?: .*)?)$", block, re.M)
        out = [*closed, *(f":{each} - [0:0]" for each in chains)]
        out += [*(f"-D {each}" for each in rules), *(f"-X {each}" for each in chains)]
        if out:
            lines += [f"*{table}", *out, "COMMIT"]
    return "".join(f"{line}\n" for line in lines)


def mounted(text: str) -> list[str]:
    """Where something is mounted, in the order in which it was."""
    return [line.split()[1].encode().decode("unicode_escape") for line in text.splitlines()]


def asked_for(name: str) -> bool:
    """Whether a file of sysctl's turns a setting on."""
    files = [Path("/etc/sysctl.conf"), *(file for each in SYSCTL_DIRECTORIES for file in Path(each).glob("*.conf"))]
    setting = name.replace("/", "[./]")
    return any(re.search(rf"^-?\s*{setting}\s*=\s*[^0\s]", read(file), re.M) for file in files)


class Traces:
    """What is found, and taken away unless in check mode."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.found: dict[str, Any] = module.params["found"]
        self.taken: list[str] = []

    def take(self, what: str, *command: str, stdin: str | None = None) -> None:
        self.taken.append(what)
        if not self.module.check_mode:
            self.module.run_command(list(command), data=stdin, check_rc=True)

    def mounts(self) -> None:
        """The last one first, as one may lie in another."""
        below = tuple(f"{directory}/" for directory in self.module.params["directories"])
        for target in reversed(mounted(read("/proc/self/mounts"))):
            if target.startswith(below):
                self.take(target, "umount", target)

    def bridges(self) -> None:
        for link in sorted(each.name for each in Path("/sys/class/net").iterdir()):
            if DOCKERS.fullmatch(link) and link not in self.found["links"]:
                self.take(link, "ip", "link", "delete", link)

    def rules(self, program: str) -> None:
        if lines := without_docker(saved(program), self.found[program]):
            self.take(f"the rules of {program}", f"{program}-restore", "--noflush", stdin=lines)

    def tables(self, program: str) -> None:
        """An empty table does nothing, but was not there."""
        nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
        for table, block in tables(saved(program)).items():
            new = table not in self.found[program]
            if nft and new and not re.search(r"^-A |^:\S+ (?!ACCEPT)", block, re.M):
                self.take(f"table {table} of {program}", nft, "delete", "table", FAMILIES[program], table)

    def forwarding(self) -> None:
        if any(each.joinpath("bridge").is_dir() for each in Path("/sys/class/net").iterdir()):
            return
        for name, value in self.found["forwarding"].items():
            setting = Path("/proc/sys", name)
            if value == "0" and read(setting).strip() == "1" and not asked_for(name):
                self.taken.append(name)
                if not self.module.check_mode:
                    setting.write_text("0\n", encoding="ascii")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "found": {"type": "dict", "required": True},
            "directories": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    traces = Traces(module)
    traces.mounts()
    for program in FAMILIES:
        traces.rules(program)
        traces.tables(program)
    traces.bridges()
    traces.forwarding()
    module.exit_json(changed=bool(traces.taken), traces=traces.taken)


if __name__ == "__main__":
    main()
