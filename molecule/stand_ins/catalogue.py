"""What is built: every image of the stand-ins, its context and its base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import yaml

STAND_INS = Path(__file__).resolve().parent
CHECKOUT = STAND_INS.parents[1]
CACHE = CHECKOUT / ".cache"

# Local names carry this prefix, so that nobody's real postgres or caddy image is replaced.
PREFIX = "endolab/stand-in/"


@dataclass(frozen=True)
class Image:
    """An image that a Dockerfile makes.

    `tag` is its name on this machine, `published` its name in the registry (None for what only this machine needs).
    `base` is the tag that `FROM` means, `context` the folder below stand_ins with its Dockerfile; what a
    requirements.txt there pins comes into the context as wheels/.
    """

    tag: str
    context: str
    base: str
    published: str | None = None


@dataclass(frozen=True)
class Base:
    """A minimal Debian of the release `suite`, made from Debian's packages."""

    tag: str
    suite: str


BOOKWORM = Base("endolab/debian:bookworm", "bookworm")
TRIXIE = Base("endolab/debian:trixie", "trixie")

# A lab's hosts by their suites, and the suite of those whose inventory names none.
HOSTS = {base.suite: Image(f"endolab/host:{base.suite}", "host", base.tag) for base in (TRIXIE, BOOKWORM)}
SUITE = TRIXIE.suite

# A MONAI Label that does nothing, for more hosts than one machine could feed; it is on Caddy's base, which they have.
IDLE = "endolab/monailabel-idle:latest"


def published_names() -> dict[str, str]:
    """The image names that the playbooks install, without a registry, by their key in images.yml."""
    directory = CHECKOUT / "playbooks" / "group_vars" / "all"
    versions = yaml.safe_load((directory / "versions.yml").read_text())
    templates = yaml.safe_load((directory / "images.yml").read_text())["__image_tags"]
    return {key: jinja2.Template(template).render(versions) for key, template in templates.items()}


def other_version(context: str, version: str, server: str) -> list[Image]:
    """CVAT's images of another version than the pinned one, to upgrade from or to.

    `server` is the tag of the pinned version's server, which the other one is made from.
    """
    names = {key: f"cvat/{key}:v{version}" for key in ("server", "ui")}
    return [
        Image(PREFIX + names["server"], context, server, published=names["server"]),
        Image(PREFIX + names["ui"], "cvat/ui", BOOKWORM.tag, published=names["ui"]),
    ]


def catalogue(hosts: Sequence[str] = (SUITE,)) -> list[Base | Image]:
    """Every image of a lab with hosts of these suites, each after the one it is built on."""
    names = published_names()

    def served(key: str, context: str, base: Base) -> Image:
        return Image(PREFIX + names[key], context, base.tag, published=names[key])

    return [
        BOOKWORM,
        TRIXIE,
        *(HOSTS[suite] for suite in hosts),
        Image("endolab/registry:latest", "registry", BOOKWORM.tag),
        Image("endolab/relay:latest", "relay", TRIXIE.tag),
        served("postgres", "postgres", BOOKWORM),
        served("redis", "redis", BOOKWORM),
        served("kvrocks", "kvrocks", BOOKWORM),
        served("caddy", "caddy", TRIXIE),
        served("opa", "cvat/opa", BOOKWORM),
        served("cvat_server", "cvat/server", BOOKWORM),
        served("cvat_ui", "cvat/ui", BOOKWORM),
        *other_version("cvat/before", "2.72.0", PREFIX + names["cvat_server"]),
        *other_version("cvat/broken", "2.73.1", PREFIX + names["cvat_server"]),
        served("clickhouse", "clickhouse", BOOKWORM),
        served("vector", "vector", BOOKWORM),
        served("grafana", "grafana", BOOKWORM),
        served("monailabel", "monailabel", BOOKWORM),
        Image(PREFIX + IDLE, "monailabel_idle", TRIXIE.tag, published=IDLE),
    ]
