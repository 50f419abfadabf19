"""The names of images, as hosts and the controller take them apart."""

from __future__ import annotations

import re


def repository(name: str) -> str:
    """An image's name without tag and digest."""
    return re.sub(r"(:[^/:]*)?(@sha256:.*)?$", "", name)
