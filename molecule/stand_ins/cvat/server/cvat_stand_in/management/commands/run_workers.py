"""Keeps NUMPROCS processes at work on the given queues, forked from one, so that they share their memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections
from rq import SimpleWorker

from cvat_stand_in.background import queues

# Seconds that supervisord, which keeps the real ones, waits before it starts another, and before it kills one.
PAUSE, PATIENCE = 1, 10


def work(names: list[str]) -> None:
    SimpleWorker(names, connection=queues(), default_worker_ttl=60).work(logging_level="WARNING")


def start(names: list[str]) -> ForkProcess:
    worker = multiprocessing.get_context("fork").Process(target=work, args=[names])
    worker.start()
    return worker


class Command(BaseCommand):
    help = "Work on queues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", nargs="+")

    def handle(self, *_: Any, queue: list[str], **__: Any) -> None:
        names = [name for name in queue if name]
        connections.close_all()
        workers = [start(names) for _ in range(int(os.environ.get("NUMPROCS", "1")))]
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        try:
            while True:
                wait([worker.sentinel for worker in workers])
                time.sleep(PAUSE)
                workers = [worker if worker.is_alive() else start(names) for worker in workers]
        finally:
            for worker in workers:
                worker.terminate()
            end = time.monotonic() + PATIENCE
            for worker in workers:
                worker.join(max(0, end - time.monotonic()))
                worker.kill()
