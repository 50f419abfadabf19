"""Waits for ClickHouse, and makes the table of events where there is none."""

from __future__ import annotations

import base64
import time
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from cvat_stand_in.events import COLUMNS


class Command(BaseCommand):
    help = "Make the table of events."

    def handle(self, *_: Any, **__: Any) -> None:
        database = settings.CLICKHOUSE["database"]
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        self.execute_once_there(f"CREATE DATABASE IF NOT EXISTS {database}")
        self.execute_once_there(
            f"CREATE TABLE IF NOT EXISTS {database}.events ({columns})"
            " ENGINE = MergeTree PARTITION BY toYYYYMM(timestamp) ORDER BY timestamp"
        )

    def execute_once_there(self, statement: str) -> None:
        """Runs the statement as soon as ClickHouse answers; what it then refuses is an error."""
        login = f"{settings.CLICKHOUSE['user']}:{settings.CLICKHOUSE['password']}"
        headers = {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        call = urllib.request.Request(settings.CLICKHOUSE["url"], statement.encode(), headers)
        while True:
            try:
                with urllib.request.urlopen(call, timeout=10):
                    return
            except urllib.error.HTTPError:
                raise
            except OSError as fault:
                self.stderr.write(f"waiting for ClickHouse: {fault}")
                time.sleep(1)
