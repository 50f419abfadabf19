"""Builds the images of the stand-ins; one whose context, base and name are unchanged is left as it is.

Usage: python molecule/stand_ins/build.py [--list] [--host SUITE]... [NAME...]
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

import bases
import context
import docker
from catalogue import CACHE, HOSTS, STAND_INS, SUITE, Base, Image, catalogue
from docker.errors import ImageNotFound
from rich.console import Console
from rich.status import Status
from rich.text import Text
from wheels import wheelhouse

LABEL = "endolab.fingerprint"
LOG_LINES_SHOWN = 40


class BuildError(Exception):
    """An image could not be built; `log` is what the builder said."""

    def __init__(self, tag: str, log: list[str]) -> None:
        super().__init__(tag)
        self.log = log


def fingerprint(engine: docker.DockerClient, image: Base | Image) -> str:
    """Changes whenever `image` has to be built again; its base must be there already."""
    if isinstance(image, Base):
        return bases.fingerprint(image.suite)
    base = engine.images.get(image.base).id
    return hashlib.sha256(f"{context.fingerprint(STAND_INS / image.context)} {base}".encode()).hexdigest()


def current(engine: docker.DockerClient, image: Base | Image, wanted: str) -> bool:
    """Whether the image on this machine has the fingerprint `wanted`."""
    try:
        return bool(engine.images.get(image.tag).labels.get(LABEL) == wanted)
    except ImageNotFound:
        return False


def build(engine: docker.DockerClient, image: Base | Image, wanted: str, status: Status) -> None:
    """Builds `image` and shows each step in `status`.

    Raises BuildError where it cannot be built.
    """
    log: list[str] = []
    try:
        if isinstance(image, Base):
            status.update(f"{image.tag}: mmdebstrap")
            bases.bootstrap(engine, image.suite, image.tag, f"{LABEL}={wanted}")
            return
        for line in _steps(engine, image, wanted):
            log.append(line)
            status.update(f"{image.tag}: {line[:90]}")
    except subprocess.CalledProcessError as error:
        raise BuildError(image.tag, error.stdout.splitlines()) from error
    except docker.errors.APIError as error:
        raise BuildError(image.tag, [*log, str(error)]) from error


def _steps(engine: docker.DockerClient, image: Image, wanted: str) -> Iterator[str]:
    folder = STAND_INS / image.context
    requirements = folder / "requirements.txt"
    wheels = None
    if requirements.exists():
        yield "downloading wheels"
        wheels = wheelhouse(requirements, CACHE / "wheels")
    with TemporaryFile() as tar:
        context.write_tar(folder, wheels, tar)
        tar.seek(0)
        # The machine's own network: its mirror may not be reachable from a bridge.
        events = engine.api.build(
            fileobj=tar,
            custom_context=True,
            tag=image.tag,
            buildargs={"BASE": image.base},
            labels={LABEL: wanted},
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
        )
        lines = []
        for event in events:
            text = str(event.get("stream") or event.get("error") or "").strip()
            if text:
                lines.append(text)
                yield text.splitlines()[-1]
            if "error" in event:
                raise BuildError(image.tag, lines)


def publish_fingerprints(engine: docker.DockerClient, suite: str) -> None:
    """Writes the fingerprints of the keys made for the image of this suite's hosts where inventories read them."""
    container = engine.containers.create(HOSTS[suite].tag)
    try:
        chunks, _ = container.get_archive("/srv/stand_ins/fingerprints.json")
    finally:
        container.remove()
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        member = tar.extractfile("fingerprints.json")
        assert member is not None
        keys = json.load(member)
    target = CACHE / "stand_ins" / f"{suite}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(keys, indent=2) + "\n")


@contextmanager
def only_one(console: Console) -> Iterator[None]:
    """Two builds at once would make the same images twice."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("another build is running; this one waits for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def selection(names: list[str], hosts: list[str]) -> list[Base | Image]:
    """The images with these names (as published, or as on this machine) and what they are built on.

    For no names all of a lab with hosts of these suites.
    """
    if not names:
        return catalogue(hosts)
    everything = catalogue(list(HOSTS))
    wanted: set[str] = set()
    for image in reversed(everything):
        known_as = {image.tag, image.published if isinstance(image, Image) else None}
        if image.tag in wanted or known_as & set(names):
            wanted.add(image.tag)
            names = [name for name in names if name not in known_as]
            if isinstance(image, Image):
                wanted.add(image.base)
    if names:
        raise SystemExit(f"no such image: {', '.join(names)}; --list shows all")
    return [image for image in everything if image.tag in wanted]


def main() -> int:
    """Builds what the command line names; 1 where an image cannot be built."""
    parser = argparse.ArgumentParser(
        description="Build the images of the stand-ins; unchanged ones are left as they are."
    )
    parser.add_argument("--list", action="store_true", help="show the names and build nothing")
    parser.add_argument(
        "--host",
        action="append",
        choices=HOSTS,
        help=f"the Debian of a lab's hosts (default: {SUITE}); may be repeated",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="an image and what it is built on (default: all)")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    images = selection(arguments.names, arguments.host or [SUITE])
    if arguments.list:
        for image in images:
            console.print(image.tag)
        return 0
    engine = docker.from_env(timeout=600)
    with only_one(console):
        for image in images:
            started = time.monotonic()
            with console.status(f"{image.tag}: is it there?") as status:
                wanted = fingerprint(engine, image)
                cached = current(engine, image, wanted)
                if not cached:
                    try:
                        build(engine, image, wanted, status)
                    except BuildError as error:
                        console.print(Text.from_ansi("\n".join(error.log[-LOG_LINES_SHOWN:])))
                        console.print(f"[red]failed[/red] {error}")
                        return 1
            size = engine.images.get(image.tag).attrs["Size"] / 1e6
            word = "[dim]cached[/dim]" if cached else "[green]built[/green] "
            console.print(f"{word} {image.tag:<48} {time.monotonic() - started:6.1f} s {size:7.0f} MB")
        for suite, host in HOSTS.items():
            if host in images:
                publish_fingerprints(engine, suite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
