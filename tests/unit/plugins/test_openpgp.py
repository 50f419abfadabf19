"""Fingerprints of OpenPGP keys, and the module signing_key that trusts them."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.module_utils.openpgp import fingerprints, keyring
from ansible_collections.endolab.active_learning.plugins.modules import signing_key

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    if shutil.which("gpg") is None:
        pytest.skip("gpg makes the keys of this test")
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)

    def run(*arguments: str) -> bytes:
        command = ["gpg", "--batch", "--quiet", "--passphrase", "", *arguments]
        return subprocess.run(
            command, env={**os.environ, "GNUPGHOME": str(home)}, check=True, capture_output=True
        ).stdout

    return run


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[str]:
    """The address under which the test's files are published."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("algorithm", ["rsa2048", "ed25519"])
@pytest.mark.parametrize("armor", [[], ["--armor"]])
def test_the_fingerprint_is_the_one_that_gpg_shows(gpg: Callable[..., bytes], algorithm: str, armor: list[str]) -> None:
    name = f"signer {algorithm} {len(armor)}"
    gpg("--quick-generate-key", name, algorithm)
    shown = gpg("--list-keys", "--with-colons", name).decode()
    expected = next(line.split(":")[9] for line in shown.splitlines() if line.startswith("fpr"))
    assert fingerprints(gpg(*armor, "--export", name)) == [expected]


@pytest.mark.parametrize("data", [b"", b"<html>", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!\n-----END PGP"])
def test_what_is_no_key_has_no_fingerprint(data: bytes) -> None:
    assert keyring(data) == []


def test_a_key_that_is_there_needs_no_network(gpg: Callable[..., bytes], run: Run, tmp_path: Path) -> None:
    gpg("--quick-generate-key", "there", "ed25519")
    file = tmp_path / "key.asc"
    file.write_bytes(gpg("--armor", "--export", "there"))
    wanted = fingerprints(file.read_bytes())[0]
    spaced = " ".join(wanted[i : i + 4] for i in range(0, 40, 4)).lower()
    result = run(signing_key, url="http://127.0.0.1:1/none", path=str(file), fingerprint=spaced)
    assert result["changed"] is False


def test_another_key_is_refused(gpg: Callable[..., bytes], publisher: str, run: Run, tmp_path: Path) -> None:
    gpg("--quick-generate-key", "other", "ed25519")
    source = tmp_path / "published.asc"
    source.write_bytes(gpg("--armor", "--export", "other"))
    target = tmp_path / "key.asc"
    result = run(signing_key, url=f"{publisher}/published.asc", path=str(target), fingerprint="0" * 40)
    assert f"holds the key {fingerprints(source.read_bytes())[0]}, and {'0' * 40} was expected" in result["msg"]
    assert not target.exists()


def test_the_right_key_is_written(gpg: Callable[..., bytes], publisher: str, run: Run, tmp_path: Path) -> None:
    gpg("--quick-generate-key", "right", "ed25519")
    source = tmp_path / "published.asc"
    source.write_bytes(gpg("--armor", "--export", "right"))
    target = tmp_path / "keyrings" / "key.asc"
    wanted = fingerprints(source.read_bytes())[0]
    assert run(signing_key, url=f"{publisher}/published.asc", path=str(target), fingerprint=wanted)["changed"] is True
    assert target.stat().st_mode & 0o777 == 0o644
    assert run(signing_key, url=f"{publisher}/published.asc", path=str(target), fingerprint=wanted)["changed"] is False
