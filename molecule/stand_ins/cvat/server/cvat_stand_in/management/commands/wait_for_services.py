"""Waits for the database and the queues; with --migrated also for another container's migrations."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import RedisError

from cvat_stand_in.background import queues


class Command(BaseCommand):
    help = "Wait for the database and the queues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--migrated", action="store_true", help="wait for the migrations, too")

    def handle(self, *_: Any, migrated: bool, **__: Any) -> None:
        while not self.ready(migrated):
            time.sleep(1)

    def ready(self, migrated: bool) -> bool:
        try:
            connection.ensure_connection()
            queues().ping()
            executor = MigrationExecutor(connection)
            return not migrated or not executor.migration_plan(executor.loader.graph.leaf_nodes())
        except (OperationalError, RedisError) as fault:
            self.stderr.write(f"waiting: {str(fault).strip().splitlines()[0]}")
            connection.close()
            return False
