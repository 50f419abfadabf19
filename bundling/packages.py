"""Packages as parts of their repositories: the index as its publisher has signed it, and what hosts install of it.

So a host trusts the keys that it trusts with a network, too, and no other. apt itself resolves, in a root of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from ansible_collections.endolab.active_learning.bundling.fetching import Wanted, plain
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError

# 'URI' FILE SIZE ALGORITHM:SUM
PRINTED = re.compile(r"'(?P<uri>[^']+)' \S+ (?P<size>\d+) (?P<algorithm>SHA256|SHA1):(?P<sum>[0-9a-f]+)")

# An index is kept as its publisher's Release names it, not compressed, so that one file is enough.
SETTINGS = """\
Dir "{root}";
Dir::State::status "{root}/status";
Dir::Etc::sourcelist "/dev/null";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "";
Acquire::ForceHash "SHA256";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"""


@dataclass(frozen=True)
class Repository:
    """Packages that hosts find: the repository's name in the bundle, its URL, and an apt source, in deb822 form.

    `keyring` takes the place of the one that the source names. Where hosts fetch it, `key` is its URL.
    """

    name: str
    url: str
    source: str
    keyring: Path
    key: str = ""

    def place(self, packages: Path, uri: str) -> Path:
        """Where the bundle has what is at `uri`."""
        return packages / self.name / unquote(uri.removeprefix(self.url)).lstrip("/")


class Apt:
    """An apt that knows these repositories, and no package that is installed already."""

    def __init__(self, root: Path, architecture: str, repositories: list[Repository]) -> None:
        self.root, self.repositories = root, repositories
        for directory in ("etc/apt/sources.list.d", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        (root / "status").touch()
        for each in repositories:
            text = re.sub(r"(?m)^Signed-By:.*\n?", "", each.source).rstrip("\n")
            source = root / "etc/apt/sources.list.d" / f"{each.name}.sources"
            source.write_text(f"{text}\nSigned-By: {each.keyring}\n", encoding="utf-8")
        (root / "apt.conf").write_text(SETTINGS.format(root=root, architecture=architecture), encoding="utf-8")

    def run(self, *arguments: str) -> str:
        """What apt-get prints. Raises BundleError where it fails."""
        if shutil.which("apt-get") is None:
            raise BundleError("There is no apt-get here. Make the bundle on Debian, as its packages are Debian's.")
        environment = {**os.environ, "APT_CONFIG": str(self.root / "apt.conf"), "LC_ALL": "C"}
        done = subprocess.run(["apt-get", *arguments], env=environment, text=True, capture_output=True)
        if done.returncode:
            said = "\n".join(line for line in done.stderr.splitlines() if line.startswith("E:")) or done.stderr
            raise BundleError(f"apt-get {' '.join(arguments)} fails:\n{said}")
        return done.stdout

    def update(self) -> None:
        """Fetches the indices, and checks who has signed them."""
        self.run("update", "--error-on=any")

    def indices(self) -> Iterator[tuple[str, Path]]:
        """Each index and what signs it: the URI, without compression, and the file that apt has made of it."""
        signed = set()
        form = "$(BASE_URI) $(URI) $(METAKEY) $(FILENAME)"
        for line in self.run("indextargets", "--format", form, "Created-By: Packages").splitlines():
            base, uri, key, file = line.split()
            yield uri, Path(file)
            signed.add((f"{base}InRelease", Path(file.removesuffix(key.replace("/", "_")) + "InRelease")))
        yield from sorted(signed)

    def needed(self, names: list[str]) -> list[tuple[str, int, str]]:
        """URI, size and sum of all packages that a host without any would install for these."""
        printed = self.run("install", "--quiet=2", "--yes", "--print-uris", *names)
        found = [PRINTED.match(line) for line in printed.splitlines() if line.startswith("'")]
        if not all(found) or not found:
            raise BundleError(f"apt-get does not say what belongs to {' '.join(names)}:\n{printed}")
        return [
            (each["uri"], int(each["size"]), f"{each['algorithm'].lower()}:{each['sum']}") for each in found if each
        ]

    def place(self, packages: Path, uri: str) -> Path:
        """Where the bundle has what one of the repositories has at `uri`."""
        own = [each for each in self.repositories if uri.startswith(f"{each.url}/")]
        return max(own, key=lambda each: len(each.url)).place(packages, uri)

    def wanted(self, names: list[str], packages: Path) -> Iterator[Wanted]:
        """The packages that these need, as files of the bundle."""
        for uri, size, total in self.needed(names):
            yield Wanted(self.place(packages, uri), uri, plain(uri), size, total)

    def copy_indices(self, packages: Path) -> None:
        """Puts the indices and the keys into the bundle."""
        keys = ((each.key, each.keyring) for each in self.repositories if each.key)
        for uri, file in (*self.indices(), *keys):
            target = self.place(packages, uri)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
