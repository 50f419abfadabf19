"""Fingerprints of OpenPGP public keys, computed without GnuPG, which a minimal host lacks (RFC 4880)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

PUBLIC_KEY = 6  # the tag of a primary public key's packet
VERSION = 4  # the only key version that package repositories use


def dearmor(data: bytes) -> bytes:
    """The packets of a key, armored or not; ValueError where the armor is damaged."""
    if b"-----BEGIN PGP" not in data:
        return data
    packets = b""
    for block in re.findall(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\s*?\n(.*?)-----END PGP", data, re.S):
        body = block.replace(b"\r", b"").partition(b"\n\n")[2] if b":" in block.split(b"\n")[0] else block
        lines = [line for line in body.split() if not line.startswith(b"=")]
        packets += base64.b64decode(b"".join(lines), validate=True)
    if not packets:
        raise ValueError("it is armored but holds no public key block")
    return packets


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of every packet; ValueError where the data is no series of packets."""
    at = 0
    try:
        while at < len(data):
            tag = data[at]
            if not tag & 0x80:
                raise ValueError("it is no OpenPGP data")
            if tag & 0x40:
                kind, first = tag & 0x3F, data[at + 1]
                if first < 192:
                    length, at = first, at + 2
                elif first < 224:
                    length, at = ((first - 192) << 8) + data[at + 2] + 192, at + 3
                elif first == 255:
                    length, at = int.from_bytes(data[at + 2 : at + 6], "big"), at + 6
                else:
                    raise ValueError("it has a packet of unknown length")
            else:
                kind, size = (tag >> 2) & 0x0F, tag & 0x03
                if size == 3:
                    raise ValueError("it has a packet of unknown length")
                length, at = int.from_bytes(data[at + 1 : at + 1 + (1 << size)], "big"), at + 1 + (1 << size)
            if at + length > len(data):
                raise ValueError("it is cut off")
            yield kind, data[at : at + length]
            at += length
    except IndexError:
        raise ValueError("it is cut off") from None


def fingerprints(data: bytes) -> list[str]:
    """Fingerprints (40 hexadecimal digits) of all primary keys in a keyring; ValueError where it is none."""
    found = []
    for tag, body in split(dearmor(data)):
        if tag == PUBLIC_KEY:
            if body[:1] != bytes([VERSION]):
                raise ValueError(f"it holds a key that is not of version {VERSION}")
            # A fingerprint's digest names its scheme; this one is fixed by the standard.
            digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body)
            found.append(digest.hexdigest().upper())
    return found


def keyring(data: bytes) -> list[str]:
    """The same; none where the data is no keyring."""
    try:
        return fingerprints(data)
    except ValueError:
        return []
