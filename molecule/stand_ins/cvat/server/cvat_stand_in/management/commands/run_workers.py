"""Runs NUMPROCS processes that work on the given queues, forked from one, so that they share their memory."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections
from rq import SimpleWorker

from cvat_stand_in.background import queues


class Command(BaseCommand):
    help = "Work on queues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", nargs="+")

    def handle(self, *_: Any, queue: list[str], **__: Any) -> None:
        names = [name for name in queue if name]
        connections.close_all()
        children = [self.fork(names) for _ in range(int(os.environ.get("NUMPROCS", "1")))]

        def stop(*_: object) -> None:
            for child in children:
                os.kill(child, signal.SIGTERM)

        signal.signal(signal.SIGTERM, stop)
        codes = [os.waitpid(child, 0)[1] for child in children]
        sys.exit(1 if any(codes) else 0)

    def fork(self, names: list[str]) -> int:
        child = os.fork()
        if child == 0:
            SimpleWorker(names, connection=queues(), default_worker_ttl=60).work(logging_level="WARNING")
            os._exit(0)
        return child
