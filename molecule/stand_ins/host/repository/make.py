"""Makes the package repositories that a lab's host uses, in their real layout, each signed by a key made here.

Usage: make.py TOOLKIT DOCKER TARGET. TOOLKIT holds the files of the toolkit's packages, DOCKER the Debian packages that
become Docker's, TARGET/repository/debian/pool already those of Debian's mirror. Writes TARGET/repository,
TARGET/debian.gpg and TARGET/fingerprints.json.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

# Of the system that this runs in, which is the host's.
SYSTEM = platform.freedesktop_os_release()
SUITE = SYSTEM["VERSION_CODENAME"]
TOOLKIT_VERSIONS = ("1.19.0-1", "1.20.0-1")
TOOLKIT_DEPENDS = {
    "libnvidia-container1": "",
    "libnvidia-container-tools": "libnvidia-container1 (>= {version})",
    "nvidia-container-toolkit-base": "",
    "nvidia-container-toolkit": "libnvidia-container-tools (>= {version}), nvidia-container-toolkit-base (= {version})",
}
# Docker's packages are Debian's under Docker's names.
DOCKER_NAMES = {
    "docker.io": "docker-ce",
    "docker-cli": "docker-ce-cli",
    "containerd": "containerd.io",
    "docker-buildx": "docker-buildx-plugin",
    "docker-compose": "docker-compose-plugin",
}


def run(*command: str, cwd: Path | None = None) -> str:
    """What the command prints. Raises CalledProcessError where it fails."""
    return subprocess.run(command, check=True, cwd=cwd, text=True, stdout=subprocess.PIPE).stdout


def make_package(name: str, version: str, depends: str, to: Path, files: Path | None = None) -> None:
    """Writes NAME_VERSION_ARCH.deb into `to`; in `files`, @VERSION@ becomes the upstream version."""
    architecture = run("dpkg", "--print-architecture").strip()
    with TemporaryDirectory() as temporary:
        tree = Path(temporary) / "tree"
        if files:
            shutil.copytree(files, tree)
        for path in tree.rglob("*"):
            if path.is_file():
                path.write_text(path.read_text().replace("@VERSION@", version.partition("-")[0]))
        (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (tree / "DEBIAN" / "control").write_text(_control(name, version, architecture, depends))
        to.mkdir(parents=True, exist_ok=True)
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(to))


def make_docker_package(package: Path, to: Path) -> None:
    """Writes the Debian package `package` into `to`, under Docker's name and kind of version where Docker has one."""
    name, version, architecture, depends = (
        run("dpkg-deb", "--field", str(package), field).strip()
        for field in ("Package", "Version", "Architecture", "Depends")
    )
    to.mkdir(parents=True, exist_ok=True)
    if name not in DOCKER_NAMES:
        shutil.copy(package, to)
        return
    # Docker's packages need each other in any version, and conflict with nothing here.
    needs = [DOCKER_NAMES.get(need.split()[0], need) for need in depends.split(", ")]
    with TemporaryDirectory() as temporary:
        tree = Path(temporary) / "tree"
        run("dpkg-deb", "--raw-extract", str(package), str(tree))
        version = f"5:{version.partition('+')[0]}-1~debian.{SYSTEM['VERSION_ID']}~{SUITE}"
        (tree / "DEBIAN" / "control").write_text(_control(DOCKER_NAMES[name], version, architecture, ", ".join(needs)))
        run("dpkg-deb", "--root-owner-group", "-Zzstd", "-z3", "--build", str(tree), str(to))


def _control(name: str, version: str, architecture: str, depends: str) -> str:
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": "Endolab",
        "Depends": depends,
        "Description": f"stands in for {name}",
    }
    return "".join(f"{field}: {value}\n" for field, value in fields.items() if value)


def make_key(name: str) -> str:
    """The fingerprint of a new signing key of this name."""
    run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never")
    listing = run("gpg", "--with-colons", "--list-keys", name)
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))


def sign(release: Path, key: str) -> None:
    """Signs a Release file in both ways that apt knows."""
    for option, name in (("--clearsign", "InRelease"), ("--detach-sign", "Release.gpg")):
        output = str(release.with_name(name))
        run("gpg", "--batch", "--yes", "--armor", "--local-user", key, "--output", output, option, str(release))


def index_flat(folder: Path) -> None:
    """Writes Packages and Release of a repository without suites."""
    (folder / "Packages").write_text(run("apt-ftparchive", "packages", ".", cwd=folder))
    (folder / "Release").write_text(run("apt-ftparchive", "release", ".", cwd=folder))


def index_suite(root: Path, component: str) -> Path:
    """Writes Packages and Release of the suite of a repository with its packages in pool/; returns Release."""
    architecture = run("dpkg", "--print-architecture").strip()
    suite = root / "dists" / SUITE
    binary = suite / component / f"binary-{architecture}"
    binary.mkdir(parents=True)
    (binary / "Packages").write_text(run("apt-ftparchive", "packages", "pool", cwd=root))
    fields = {"Suite": SUITE, "Codename": SUITE, "Components": component, "Architectures": architecture}
    options = [f"-oAPT::FTPArchive::Release::{field}={value}" for field, value in fields.items()]
    release = suite / "Release"
    release.write_text(run("apt-ftparchive", *options, "release", str(suite)))
    return release


def main(toolkit: Path, docker_packages: Path, target: Path) -> None:
    """Makes everything below `target`."""
    repository = target / "repository"
    nvidia = repository / "libnvidia-container"
    docker = repository / "linux" / "debian"
    flat = nvidia / "stable" / "deb" / run("dpkg", "--print-architecture").strip()
    for version in TOOLKIT_VERSIONS:
        for name, depends in TOOLKIT_DEPENDS.items():
            make_package(name, version, depends.format(version=version), flat, toolkit / name)
    for package in sorted(docker_packages.glob("*.deb")):
        make_docker_package(package, docker / "pool")

    index_flat(flat)
    releases = {
        "debian": index_suite(repository / "debian", "main"),
        "docker": index_suite(docker, "stable"),
        "nvidia_container_toolkit": flat / "Release",
    }
    keys = {name: make_key(f"stand-in {name}") for name in releases}
    for name, release in releases.items():
        sign(release, keys[name])
    (nvidia / "gpgkey").write_text(run("gpg", "--armor", "--export", keys["nvidia_container_toolkit"]))
    (docker / "gpg").write_text(run("gpg", "--armor", "--export", keys["docker"]))
    run("gpg", "--output", str(target / "debian.gpg"), "--export", keys["debian"])

    # The same again with the right key to trust and somebody else's signature, which apt has to refuse.
    wrong = repository / "wrong-signature"
    intruder = make_key("stand-in intruder")
    for source in (nvidia, docker):
        copy = wrong / source.relative_to(repository)
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.deb"))
        for release in copy.rglob("Release"):
            sign(release, intruder)

    del keys["debian"]
    (target / "fingerprints.json").write_text(json.dumps(keys))


if __name__ == "__main__":
    with TemporaryDirectory() as home:
        os.environ["GNUPGHOME"] = home
        main(*map(Path, sys.argv[1:]))
        run("gpgconf", "--kill", "all")
