"""Runs in a host: listens on the wire for some seconds, then says how many segments held something, and which texts.

Usage: python3 sniff.py SECONDS TEXT...     prints "ready", then JSON
"""

from __future__ import annotations

import json
import socket
import sys
import time

ETHERNET, ALL = 14, 3  # the length of a frame's header; every protocol


def main() -> None:
    seconds, texts = float(sys.argv[1]), sys.argv[2:]
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
    wire.bind(("eth0", 0))
    wire.settimeout(0.2)
    print("ready", flush=True)
    end, held, found = time.monotonic() + seconds, 0, set()
    while time.monotonic() < end:
        try:
            frame = wire.recv(65535)
        except TimeoutError:
            continue
        held += len(frame) > ETHERNET + 60
        found |= {text for text in texts if text.encode() in frame}
    json.dump({"segments": held, "texts": sorted(found)}, sys.stdout)


if __name__ == "__main__":
    main()
