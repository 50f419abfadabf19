"""Returns once CVAT knows the account in MONAI_LABEL_DATASTORE_{URL,USERNAME,PASSWORD}; until then says why not."""

from __future__ import annotations

import base64
import os
import sys
import time
import urllib.error
import urllib.request

INTERVAL_SECONDS = float(os.environ.get("WAIT_INTERVAL_SECONDS", "5"))
TIMEOUT_SECONDS = 20


def obstacle(url: str, username: str, password: str) -> str | None:
    """What keeps CVAT at `url` from knowing this account, as a sentence; None when it does."""
    # Latin-1, because MONAI Label's own client encodes so.
    login = base64.b64encode(f"{username}:{password}".encode("latin-1")).decode()
    request = urllib.request.Request(f"{url}/api/users/self", headers={"Authorization": f"Basic {login}"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return f"CVAT at {url} refuses user {username!r}: mend the vaulted password and run site.yml again"
        return f"CVAT at {url} answers {error.code} {error.reason}"
    except OSError as error:
        return f"CVAT at {url} is not there yet ({error})"


def main() -> None:
    url, username, password = (os.environ[f"MONAI_LABEL_DATASTORE_{key}"] for key in ("URL", "USERNAME", "PASSWORD"))
    said = None
    while (why := obstacle(url, username, password)) is not None:
        if why != said:
            print(f"waiting: {why}", file=sys.stderr, flush=True)
            said = why
        time.sleep(INTERVAL_SECONDS)
    print(f"CVAT at {url} knows user {username!r}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
