"""The module files: several small files and their directories in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Several small files and their directories in one round trip
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Writes what differs, each file whole or not at all, with its final owner and mode from its first byte on.
options:
  directories:
    description: Directories, made before the files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      owner:
        description: Name or number of the owner; a number needs no name on the host.
        type: str
        default: "0"
      group:
        description: Name or number of the group.
        type: str
        default: "0"
      mode:
        description: Mode in octal digits.
        type: str
        default: "0755"
  files:
    description: Files whose content may be shown.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      owner:
        description: Name or number of the owner; a number needs no name on the host.
        type: str
        default: "0"
      group:
        description: Name or number of the group.
        type: str
        default: "0"
      mode:
        description: Mode in octal digits.
        type: str
        default: "0644"
      content:
        description: The whole content.
        type: str
        required: true
  secrets:
    description: Files whose content is never shown, neither in a log nor in a diff.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      owner:
        description: Name or number of the owner; a number needs no name on the host.
        type: str
        default: "0"
      group:
        description: Name or number of the group.
        type: str
        default: "0"
      mode:
        description: Mode in octal digits.
        type: str
        default: "0600"
      content:
        description: The whole content.
        type: str
        required: true
attributes:
  check_mode:
    description: Says what would change.
    support: full
  diff_mode:
    description: Shows old and new content of C(files), owner and mode of all.
    support: full
"""

EXAMPLES = r"""
- name: The settings are there
  endolab.active_learning.files:
    directories:
      - path: /etc/endolab/edge
    files:
      - path: /etc/endolab/edge/Caddyfile
        content: "{{ lookup('ansible.builtin.template', 'Caddyfile.j2') }}"
"""

RETURN = r"""
changed_paths:
  description: The paths that changed, or would.
  returned: always
  type: list
  elements: str
written:
  description:
    - For each file when it was written, in nanoseconds since 1970; where check mode would write it, nothing.
    - Another number tells whoever has read it that there is something to read again, and tells nothing of its content.
  returned: always
  type: dict
  sample: {/etc/endolab/cvat/secrets/postgres/password: "1764182400000000000"}
"""

import grp
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.endolab.active_learning.plugins.module_utils.file_defaults import MODES, OWNER


class Refusal(Exception):
    """What cannot be written, and how to mend it."""


@dataclass(frozen=True)
class Entry:
    """A file (with content) or a directory (without) as it shall be."""

    path: Path
    uid: int
    gid: int
    mode: int
    content: bytes | None = None
    secret: bool = False

    def state(self) -> tuple[str, bytes | None]:
        """Owner, group and mode as one line, and the content, as they are now; ("", None) where there is nothing."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return "", None
        right = stat.S_ISDIR if self.content is None else stat.S_ISREG
        if not right(found.st_mode):
            kind = "directory" if self.content is None else "regular file"
            raise Refusal(f"{self.path} is there but no {kind}. Move it away, then run this again.")
        content = None if self.content is None else self.path.read_bytes()
        return rights(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)), content

    def written(self) -> str:
        """When it was written, in nanoseconds since 1970."""
        return str(self.path.stat().st_mtime_ns)

    def wanted(self) -> tuple[str, bytes | None]:
        """The same as `state`, as it shall be."""
        return rights(self.uid, self.gid, self.mode), self.content


def rights(uid: int, gid: int, mode: int) -> str:
    return f"owner {uid} group {gid} mode {mode:04o}\n"


def number(name: str, kind: str) -> int:
    """A user's or group's number."""
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "owner" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise Refusal(f"There is no {kind} {name!r} on this host. Write its number, or create it first.") from None


def entry(given: dict[str, Any], secret: bool = False) -> Entry:
    """An entry from the module's options."""
    if not given["path"].startswith("/"):
        raise Refusal(f"{given['path']!r} is no absolute path. Write it from / on.")
    try:
        mode = int(given["mode"], 8)
    except ValueError:
        raise Refusal(f"mode {given['mode']!r} of {given['path']} is no octal number such as 0644.") from None
    content = given.get("content")
    return Entry(
        path=Path(given["path"]),
        uid=number(given["owner"], "owner"),
        gid=number(given["group"], "group"),
        mode=mode,
        content=None if content is None else content.encode("utf-8", "surrogateescape"),
        secret=secret,
    )


def make_directory(wanted: Entry) -> None:
    wanted.path.mkdir(mode=wanted.mode, parents=True, exist_ok=True)
    os.chown(wanted.path, wanted.uid, wanted.gid)
    wanted.path.chmod(wanted.mode)


def prepare(wanted: Entry, content: bytes) -> Path:
    """The finished file, under another name beside its place; nobody but root reads it before it has its owner."""
    handle, name = tempfile.mkstemp(prefix=f".{wanted.path.name}.", dir=wanted.path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchown(file.fileno(), wanted.uid, wanted.gid)
            os.fchmod(file.fileno(), wanted.mode)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        Path(name).unlink()
        raise
    return Path(name)


def write(entries: list[Entry]) -> None:
    """Makes the directories, prepares every file, and only then puts them into their places."""
    for wanted in entries:
        if wanted.content is None:
            make_directory(wanted)
    prepared: list[tuple[Path, Path]] = []
    try:
        for wanted in entries:
            if wanted.content is not None:
                prepared.append((prepare(wanted, wanted.content), wanted.path))
        while prepared:
            Path.replace(*prepared[0])
            prepared.pop(0)
    finally:
        for temporary, _ in prepared:
            temporary.unlink()


def difference(wanted: Entry) -> dict[str, str] | None:
    """What would change, as Ansible shows it; None where nothing would."""
    now, then = wanted.state(), wanted.wanted()
    if now == then:
        return None

    def text(state: tuple[str, bytes | None]) -> str:
        line, content = state
        if content is None:
            return line
        return line + ("(secret)\n" if wanted.secret else content.decode("utf-8", "replace"))

    shown = {
        "before": text(now),
        "after": text(then),
        "before_header": str(wanted.path),
        "after_header": str(wanted.path),
    }
    if wanted.secret and now[1] is not None and now[1] != then[1]:
        shown["after"] = f"{then[0]}(secret, changed)\n"
    return shown


def main() -> None:
    place = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": OWNER},
        "group": {"type": "str", "default": OWNER},
    }

    def option(kind: str, **more: Any) -> dict[str, Any]:
        options = {**place, "mode": {"type": "str", "default": MODES[kind]}, **more}
        # Of a secret it is the content alone that nobody sees.
        return {"type": "list", "elements": "dict", "default": [], "options": options, "no_log": False}

    module = AnsibleModule(
        argument_spec={
            "directories": option("directories"),
            "files": option("files", content={"type": "str", "required": True}),
            "secrets": option("secrets", content={"type": "str", "required": True, "no_log": True}),
        },
        supports_check_mode=True,
    )
    try:
        entries = [
            *(entry(given) for given in module.params["directories"]),
            *(entry(given) for given in module.params["files"]),
            *(entry(given, secret=True) for given in module.params["secrets"]),
        ]
        diffs = {wanted: shown for wanted in entries if (shown := difference(wanted)) is not None}
        if not module.check_mode:
            write(list(diffs))
        files = [wanted for wanted in entries if wanted.content is not None]
        written = {str(each.path): "" if module.check_mode and each in diffs else each.written() for each in files}
    except (OSError, Refusal) as fault:
        module.fail_json(msg=str(fault))
    module.exit_json(
        changed=bool(diffs),
        changed_paths=[str(wanted.path) for wanted in diffs],
        written=written,
        diff=list(diffs.values()),
    )


if __name__ == "__main__":
    main()
