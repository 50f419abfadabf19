"""The module nft_table: a table of nftables that never shuts out the one who loads it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nft_table
short_description: A table of nftables that never shuts out the one who loads it
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Loads a table of family C(inet) in one transaction and leaves all others alone.
  - New rules hold for a while only. Confirm them over a new connection; otherwise what was there before comes back by
    itself, also when the host is restarted meanwhile.
options:
  table:
    description: The table's name.
    type: str
    required: true
  path:
    description: >-
      File that gets the confirmed rules, for C(nft -f) to load when the host starts. What the module has to remember
      lies beside it.
    type: path
    required: true
  rules:
    description: What stands between the table's braces; needed for C(present).
    type: str
  state:
    description: >-
      C(present) loads the rules where they differ; C(confirmed) keeps them for good; C(absent) takes the table away.
    type: str
    choices: [present, confirmed, absent]
    default: present
  patience:
    description: Seconds after which rules that nobody has confirmed are taken back.
    type: int
    default: 60
attributes:
  check_mode:
    description: Says what would change; rules are tried without being loaded.
    support: full
  diff_mode:
    description: Shows the rules as the kernel has them, and as they are wanted.
    support: full
"""

EXAMPLES = r"""
- name: New rules hold, until they are confirmed or taken back
  endolab.active_learning.nft_table:
    table: endolab
    path: /etc/endolab/firewall/rules.nft
    rules: |
      chain input {
        type filter hook input priority filter; policy drop;
        ct state established accept
        tcp dport 22 accept
      }

- name: The next task comes over a connection of its own
  ansible.builtin.meta: reset_connection

- name: The rules stay
  endolab.active_learning.nft_table:
    table: endolab
    path: /etc/endolab/firewall/rules.nft
    state: confirmed
"""

RETURN = r"""
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

ROLLBACK = "endolab-firewall-rollback"


class Table:
    """The table in the kernel, and the files that say what it shall be."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.name: str = module.params["table"]
        self.path = Path(module.params["path"])
        self.pending = self.path.with_suffix(".pending")  # loaded, and not confirmed
        self.previous = self.path.with_suffix(".previous")  # what comes back when nobody confirms
        self.loaded = self.path.with_suffix(".loaded")  # how the kernel shows the confirmed rules
        self.nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        """What a command prints; nothing where it fails and need not succeed."""
        status, output, errors = self.module.run_command(list(command), data=stdin)
        if status and check:
            self.module.fail_json(msg=f"`{' '.join(command)}` failed: {errors.strip() or output.strip()}")
        return "" if status else str(output)

    def listing(self) -> str:
        """The table as the kernel shows it, without counters; empty without a table."""
        return (
            self.run(str(self.nft), "--stateless", "list", "table", "inet", self.name, check=False) if self.nft else ""
        )

    def transaction(self, rules: str) -> str:
        """Replaces the table in one transaction, whether it is there or not."""
        return f"table inet {self.name}\ndelete table inet {self.name}\ntable inet {self.name} {{\n{rules}}}\n"

    def write(self, path: Path, content: str) -> None:
        """Puts a file into its place whole."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(content, encoding="utf-8")
        new.chmod(0o600)
        new.replace(path)

    def read(self, path: Path) -> str:
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def waiting(self) -> bool:
        """Whether rules are loaded that may still be taken back."""
        return bool(self.run("systemctl", "is-active", f"{ROLLBACK}.timer", check=False))

    def present(self) -> None:
        wanted, before = self.transaction(self.module.params["rules"]), self.listing()
        confirmed = self.read(self.path) == wanted and self.read(self.loaded) == before != ""
        if confirmed and not self.waiting:
            self.module.exit_json(changed=False)
        if self.nft:
            self.run(self.nft, "--check", "--file", "-", stdin=wanted)
        if not self.module.check_mode:
            self.load(wanted, before)
        after = wanted if self.module.check_mode else self.listing()
        self.module.exit_json(changed=True, diff={"before": before, "after": after})

    def load(self, wanted: str, before: str) -> None:
        if not self.waiting:
            # Rules that were never confirmed are nothing to come back to.
            self.write(self.previous, f"table inet {self.name}\ndelete table inet {self.name}\n{before}")
        self.forget_rollback()
        patience = f"--on-active={self.module.params['patience']}"
        again = [str(self.nft), "--file", str(self.previous)]
        self.run("systemd-run", "--quiet", f"--unit={ROLLBACK}", patience, "--timer-property=AccuracySec=1s", *again)
        self.write(self.pending, wanted)
        self.run(str(self.nft), "--file", "-", stdin=wanted)

    def confirmed(self) -> None:
        if not self.pending.exists():
            self.module.exit_json(changed=False)
        if self.module.check_mode:
            self.module.exit_json(changed=True)
        if not self.waiting:
            self.pending.unlink()
            self.module.fail_json(msg="The rules were taken back before they were confirmed. Run this again.")
        self.forget_rollback()
        self.write(self.loaded, self.listing())
        self.pending.replace(self.path)
        self.previous.unlink()
        self.module.exit_json(changed=True)

    def forget_rollback(self) -> None:
        self.run("systemctl", "stop", f"{ROLLBACK}.timer", check=False)
        self.run("systemctl", "reset-failed", f"{ROLLBACK}.service", check=False)

    def absent(self) -> None:
        before = self.listing()
        files = [file for file in (self.path, self.pending, self.previous, self.loaded) if file.exists()]
        if not self.module.check_mode:
            self.forget_rollback()
            if before:
                self.run(str(self.nft), "delete", "table", "inet", self.name)
            for file in files:
                file.unlink()
        self.module.exit_json(changed=bool(before or files), diff={"before": before, "after": ""})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "table": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "rules": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "confirmed", "absent"], "default": "present"},
            "patience": {"type": "int", "default": 60},
        },
        required_if=[("state", "present", ["rules"])],
        supports_check_mode=True,
    )
    table = Table(module)
    if not (table.nft or module.check_mode or module.params["state"] == "absent"):
        module.fail_json(msg="The program nft is missing. Install the package nftables.")
    {"present": table.present, "confirmed": table.confirmed, "absent": table.absent}[module.params["state"]]()


if __name__ == "__main__":
    main()
