"""Minimal Debian images, made from the packages of the mirror that this machine uses itself."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import docker

SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
SOURCES_ONE_LINE = Path("/etc/apt/sources.list")

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# Neither manuals nor translations, and nothing of the machine that made the image.
_OPTIONS = (
    "--variant=minbase",
    "--format=tar",
    "--include=ca-certificates",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--aptopt=APT::Install-Recommends false",
    "--aptopt=Acquire::Languages none",
    '--customize-hook=rm -rf "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/machine-id "$1"/var/log/*.log',
)


class NoMirrorError(Exception):
    """This machine's apt sources name no Debian mirror."""


def mirror(deb822: str, one_line: str = "") -> str:
    """The URI of the Debian mirror in apt sources of either form.

    Raises NoMirrorError where there is none.
    """
    for line in deb822.splitlines():
        field, _, value = line.partition(":")
        if field.strip().lower() == "uris" and value.split():
            return value.split()[0].rstrip("/")
    for line in one_line.splitlines():
        words = [word for word in line.split() if not word.startswith("[") and not word.endswith("]")]
        if words[:1] == ["deb"] and len(words) >= 4:
            return words[1].rstrip("/")
    raise NoMirrorError(f"{SOURCES} and {SOURCES_ONE_LINE} name no Debian mirror; this needs a Debian machine")


def machine_mirror() -> str:
    """The URI of the Debian mirror that this machine's apt uses."""
    texts = [path.read_text() if path.exists() else "" for path in (SOURCES, SOURCES_ONE_LINE)]
    return mirror(*texts)


def sources(suite: str, uri: str) -> str:
    """apt sources, in deb822 form, for the release `suite` and its updates."""
    return f"Types: deb\nURIs: {uri}\nSuites: {suite} {suite}-updates\nComponents: main\nSigned-By: {_KEYRING}\n"


def fingerprint(suite: str) -> str:
    """Changes when the image of `suite` would be made otherwise; packages that got newer do not count."""
    return hashlib.sha256("\0".join((*_OPTIONS, sources(suite, machine_mirror()))).encode()).hexdigest()


def bootstrap(engine: docker.DockerClient, suite: str, tag: str, label: str) -> list[str]:
    """Makes the image `tag` with `label` (key=value); returns what mmdebstrap said.

    Raises CalledProcessError where mmdebstrap fails.
    """
    with TemporaryDirectory() as directory:
        archive = Path(directory) / "root.tar"
        source = Path(directory) / "debian.sources"
        source.write_text(sources(suite, machine_mirror()))
        done = subprocess.run(
            ["mmdebstrap", *_OPTIONS, suite, str(archive), str(source)],
            check=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        repository, _, version = tag.rpartition(":")
        engine.api.import_image(
            str(archive), repository=repository, tag=version, changes=[f"LABEL {label}", 'CMD ["/bin/bash"]']
        )
    return done.stdout.splitlines()
