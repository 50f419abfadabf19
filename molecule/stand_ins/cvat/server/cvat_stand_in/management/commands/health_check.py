"""Prints how each part is; exits 1 when one does not work."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from cvat_stand_in.routes_server import health


class Command(BaseCommand):
    help = "Check the parts that the server needs."

    def handle(self, *_: Any, **__: Any) -> None:
        found = health()
        for name, state in found.items():
            self.stdout.write(f"{name:25} ... {state}")
        sys.exit(0 if set(found.values()) == {"working"} else 1)
