"""The module set_aside: a lab's settings and containers as they are, to come back should their successors fail."""

from __future__ import annotations

DOCUMENTATION = r"""
module: set_aside
short_description: Sets settings and containers aside, and brings them back
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Set aside, files lie in one archive, and containers are stopped under another name, C(NAME-set-aside).
  - What is set aside stays as it is until it is brought back or given up, however often it is asked for; a run that was
    broken off is ended by another one.
options:
  state:
    description:
      - C(present) sets aside, unless something is aside already.
      - >-
        C(restored) puts files and containers in the place of those that are there now; the containers are not started.
        Where nothing is set aside, nothing is done.
      - C(absent) gives up what was set aside.
    type: str
    choices: [present, restored, absent]
    default: present
  directory:
    description: Where the files and the notes lie, for root alone.
    type: path
    required: true
  files:
    description: Absolute paths of files and directories, with wildcards; those that are not there are left out.
    type: list
    elements: str
    default: []
  containers:
    description: Names of Docker's containers; those that are not there are left out.
    type: list
    elements: str
    default: []
  notes:
    description: What somebody who brings it back must know. Notes that are there already stay as they are.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says whether it would change something.
    support: full
"""

EXAMPLES = r"""
- name: What runs is set aside
  endolab.active_learning.set_aside:
    directory: /var/lib/endolab/upgrade
    files: [/etc/endolab]
    containers: [monailabel]
    notes: {toolkit: 1.19.0-1}
"""

RETURN = r"""
notes:
  description: The notes beside what is set aside; empty where nothing is.
  returned: always
  type: dict
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ASIDE = "-set-aside"


def run(*command: str) -> str:
    """What a command prints. Raises RuntimeError with its last words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"`{' '.join(command[:2])} …` failed: {words[-1]}")
    return done.stdout


class Place:
    """What is set aside in a directory, and the containers beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.archive = directory, directory / "files.tar"
        self.listed, self.noted = directory / "containers.json", directory / "notes.json"

    @property
    def begun(self) -> bool:
        """Whether there is something to come back to; the notes are written before a container stops, and go first."""
        return self.noted.exists()

    def notes(self) -> dict[str, Any]:
        return read_json(self.noted) if self.begun else {}

    def note(self, notes: dict[str, Any]) -> None:
        write_json(self.noted, notes)

    def begin(self, files: list[str], containers: list[str]) -> None:
        """Archives the files, and lists the containers that are there."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.archive.with_suffix(".partial")
        found = [str(path.relative_to("/")) for path in matches(files)]
        # In that format files keep the fractions of their seconds: by them it is known whether they were written anew.
        create = ("tar", "--create", "--format=posix", "--file", str(partial))
        run(*create, "--directory", "/", "--files-from", "/dev/null", *found)
        partial.replace(self.archive)
        known = container_ids()
        there = {name: known[name] for name in containers if name in known}
        for name in there:
            if name + ASIDE in known:  # of a run that nobody ended
                run("docker", "rm", "--force", name + ASIDE)
        write_json(self.listed, there)

    def left(self) -> list[str]:
        """The containers that are still to be set aside; one that has taken the place of another is not."""
        if not self.listed.exists():
            return []
        known = container_ids()
        return [name for name, number in read_json(self.listed).items() if known.get(name) == number]

    def set_aside(self) -> None:
        for name in self.left():
            run("docker", "stop", name)
            run("docker", "rename", name, name + ASIDE)

    def restore(self, files: list[str], containers: list[str]) -> None:
        known = container_ids()
        for name in containers:
            if name in known and name + ASIDE in known:
                run("docker", "rm", "--force", name)
        for path in matches(files):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        run(
            "tar",
            "--extract",
            "--file",
            str(self.archive),
            "--directory",
            "/",
            "--same-owner",
            "--preserve-permissions",
        )
        for name in containers:
            if name + ASIDE in known:
                run("docker", "rename", name + ASIDE, name)

    def give_up(self, containers: list[str]) -> None:
        self.noted.unlink(missing_ok=True)
        known = container_ids()
        for name in containers:
            if name + ASIDE in known:
                run("docker", "rm", "--force", name + ASIDE)
        if self.directory.exists():
            shutil.rmtree(self.directory)


def read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise RuntimeError(f"{path} is damaged, so that it is not known what was set aside beside it") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes so that a reader finds the old file or the new one, also after a power cut."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
    os.sync()
    partial.replace(path)
    os.sync()


def matches(patterns: list[str]) -> list[Path]:
    """What is there of the paths."""
    return sorted(path for pattern in patterns for path in Path("/").glob(pattern.lstrip("/")))


def container_ids() -> dict[str, str]:
    """The ids of all containers, by their names."""
    lines = run("docker", "ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines()
    return dict(line.split() for line in lines)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "restored", "absent"], "default": "present"},
            "directory": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "str", "default": []},
            "containers": {"type": "list", "elements": "str", "default": []},
            "notes": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    given, place = module.params, Place(Path(module.params["directory"]))
    state, notes = given["state"], dict[str, Any]()
    try:
        begun = place.begun
        # Who gives it up need not understand it.
        known = place.notes() if state != "absent" else {}
        notes = {**given["notes"], **known} if state == "present" else known
        if state == "absent":
            changed = place.directory.exists()
        else:
            changed = begun if state == "restored" else not begun or notes != known or bool(place.left())
        if changed and not module.check_mode:
            if state == "present":
                if not begun:
                    place.begin(given["files"], given["containers"])
                place.note(notes)
                place.set_aside()
            elif state == "restored":
                place.restore(given["files"], given["containers"])
            else:
                place.give_up(given["containers"])
    except (OSError, RuntimeError) as fault:
        module.fail_json(msg=f"{fault}.", notes=notes)
    module.exit_json(changed=changed, notes=notes)


if __name__ == "__main__":
    main()
