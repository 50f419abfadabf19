"""Exits 0 when at least the expected number of workers of each queue is registered for this container, else 1.

As with the real one a worker that dies or hangs stays registered until it has not shown itself for a while.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rq import Queue, Worker

from cvat_stand_in.background import queues


class Command(BaseCommand):
    help = "Look whether the workers of a queue are alive."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", nargs="+")
        parser.add_argument("--expected-num-workers", type=int, required=True)

    def handle(self, *_: Any, queue: list[str], expected_num_workers: int, **__: Any) -> None:
        for name in queue:
            found = Worker.all(queue=Queue(name, connection=queues()))
            alive = sum(worker.hostname == socket.gethostname() for worker in found)
            if alive < expected_num_workers:
                self.stderr.write(f"{alive} workers of {name} are alive, not {expected_num_workers}")
                sys.exit(1)
