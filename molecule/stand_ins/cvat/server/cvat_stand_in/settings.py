"""Django's settings, from the environment that the real server reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

# The version whose contract this is; images of another one say so.
VERSION = os.environ.get("STAND_IN_VERSION", "2.73.0")

HOME = Path(os.environ.get("CVAT_HOME", "/home/django"))
DATA = HOME / "data"
KEYS = HOME / "keys"


def database_password() -> str:
    """The password from the environment or from its file; the real server refuses both together, too."""
    file, plain = os.environ.get("CVAT_POSTGRES_PASSWORD_FILE"), os.environ.get("CVAT_POSTGRES_PASSWORD")
    if file and plain:
        raise ValueError("CVAT_POSTGRES_PASSWORD and CVAT_POSTGRES_PASSWORD_FILE are both set")
    return Path(file).read_text(encoding="utf-8").strip() if file else plain or ""


def secret_key() -> str:
    """The key that signs sessions, made once and kept in the volume of keys."""
    given = os.environ.get("DJANGO_SECRET_KEY")
    if given:
        return given
    file = KEYS / "secret_key"
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    return file.read_text(encoding="utf-8")


def redis(kind: str, port: int) -> dict[str, Any]:
    """Where one of the two Redis servers is, INMEM (queues) or ONDISK (media)."""
    return {
        "host": os.environ.get(f"CVAT_REDIS_{kind}_HOST", "127.0.0.1"),
        "port": int(os.environ.get(f"CVAT_REDIS_{kind}_PORT", port)),
        "password": os.environ.get(f"CVAT_REDIS_{kind}_PASSWORD") or None,
        "socket_connect_timeout": 5,
    }


QUEUES = redis("INMEM", 6379)
MEDIA = redis("ONDISK", 6666)
OPA_URL = os.environ.get("IAM_OPA_HOST", "http://opa:8181")
DISK_USAGE_MAX = int(os.environ.get("CVAT_HEALTH_DISK_USAGE_MAX", "90"))
BASE_URL = os.environ.get("CVAT_BASE_URL", "")

ANALYTICS = os.environ.get("CVAT_ANALYTICS", "0") == "1"
CLICKHOUSE = {
    "url": f"http://{os.environ.get('CLICKHOUSE_HOST', 'clickhouse')}:{os.environ.get('CLICKHOUSE_PORT', '8123')}/",
    "database": os.environ.get("CLICKHOUSE_DB", "cvat"),
    "user": os.environ.get("CLICKHOUSE_USER", "user"),
    "password": os.environ.get("CLICKHOUSE_PASSWORD", "user"),
}
LOG_SERVER = (
    f"http://{os.environ.get('DJANGO_LOG_SERVER_HOST', 'vector')}:{os.environ.get('DJANGO_LOG_SERVER_PORT', '8282')}/"
)

SECRET_KEY = secret_key()

# A thousandth of the real one's work: 0.6 s of a core for each login is what tests on two cores would wait for most.
PASSWORD_HASHERS = ["cvat_stand_in.hashing.Quick"]
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "*").split(",")
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "cvat_stand_in",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("CVAT_POSTGRES_HOST", "127.0.0.1"),
        "PORT": os.environ.get("CVAT_POSTGRES_PORT", "5432"),
        "NAME": os.environ.get("CVAT_POSTGRES_DBNAME", "cvat"),
        "USER": os.environ.get("CVAT_POSTGRES_USER", "root"),
        "PASSWORD": database_password(),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
