"""Exits 0 when this container has at least the expected number of living workers of each queue, else 1."""

from __future__ import annotations

import os
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
            alive = sum(worker.hostname == socket.gethostname() and self.alive(worker.pid or 0) for worker in found)
            if alive < expected_num_workers:
                self.stderr.write(f"{alive} workers of {name} are alive, not {expected_num_workers}")
                sys.exit(1)

    def alive(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
