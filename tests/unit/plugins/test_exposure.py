"""The module exposure."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.modules import exposure

from tests.certificates import KEY, certificate, issued, pem

Run = Callable[..., dict[str, Any]]

NAME = "gpu1.example.org"
SECRET = "Marker0That1Nobody2Else3Has"


def certificate_file(directory: Path, days: int) -> Path:
    """A file with a key and its certificate, until so many days from now."""
    file = directory / f"{days}.pem"
    file.write_text(pem(KEY) + certificate(NAME, "127.0.0.1", days=(-90, days)), encoding="utf-8")
    return file


@contextmanager
def served(file: Path, newest: ssl.TLSVersion) -> Iterator[int]:
    """The port of a server that speaks TLS, up to this version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(peer, server_side=True).close()
                except OSError:
                    peer.close()

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_the_door_is_seen_as_a_browser_would(tmp_path: Path) -> None:
    good, over = certificate_file(tmp_path, 30), certificate_file(tmp_path, -30)
    with served(good, ssl.TLSVersion.TLSv1_1) as port:
        assert exposure.door(port, NAME, good.read_text())["old"] == ["TLSv1", "TLSv1.1"]
    with served(good, ssl.TLSVersion.TLSv1_3) as port:
        seen = exposure.door(port, NAME, good.read_text())
        assert (seen["fault"], seen["days"]) == ("", 29)
        assert "mismatch" in exposure.door(port, "other.example.org", good.read_text())["fault"]
        assert "self-signed certificate" in exposure.door(port, NAME, None)["fault"]
        assert exposure.door(port, NAME, "nothing")["fault"]
    with served(over, ssl.TLSVersion.TLSv1_3) as port:
        assert exposure.door(port, NAME, over.read_text())["fault"] == "certificate has expired"
    assert "refused" in exposure.door(port, NAME, good.read_text())["fault"]


def test_a_door_whose_chain_nobody_vouches_for_is_found(tmp_path: Path) -> None:
    file, root = tmp_path / "site.pem", certificate()
    file.write_text(pem(KEY) + issued(NAME), encoding="utf-8")
    with served(file, ssl.TLSVersion.TLSv1_3) as port:
        assert "unable to get local issuer certificate" in exposure.door(port, NAME, None)["fault"]
        assert exposure.door(port, NAME, root)["fault"] == ""


def test_credentials_are_found_where_others_read_them() -> None:
    credentials = {"cvat_admin_password": SECRET, "cvat_clickhouse_password": ""}
    described = {"greedy": {"Config": {"Env": [f"PASSWORD={SECRET}"]}}, "modest": {"Config": {"Env": ["A=b"]}}}
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen([*sleep, f"--password={SECRET}"]) as argument,
        subprocess.Popen(sleep, env={"SECRET": SECRET}) as environment,
    ):
        try:
            name = Path(f"/proc/{argument.pid}/comm").read_text(encoding="ascii").strip()
            found = exposure.shown(credentials, described)
        finally:
            argument.kill()
            environment.kill()
    kinds = {f"argument {name}", f"environment {name}", "inspect greedy"}
    assert found == {f"{kind} cvat_admin_password" for kind in kinds}
    assert exposure.shown({"cvat_admin_password": SECRET}, {}) == set()


def test_files_that_others_may_read_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, mode in (("own", 0o600), ("deep/group", 0o640), ("deep/all", 0o604)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
        (tmp_path / path).chmod(mode)
    (tmp_path / "daemon.json").touch()
    (tmp_path / "daemon.json").chmod(0o666)
    monkeypatch.setattr(exposure, "RIGHTS", {str(tmp_path / "daemon.json"): 0o644, str(tmp_path / "nothing"): 0o644})
    found = {
        each["path"].removeprefix(f"{tmp_path}/"): each["mode"]
        for each in exposure.open_files([str(tmp_path / "deep")])
    }
    assert found == {"daemon.json": "0666", "deep/group": "0640", "deep/all": "0604"}


def test_containers_are_judged_by_whose_they_are() -> None:
    host = {
        "CapDrop": ["ALL"],
        "CapAdd": ["CAP_CHOWN"],
        "SecurityOpt": ["no-new-privileges:true", "seccomp=unconfined"],
        "Privileged": True,
        "ReadonlyRootfs": True,
        "Memory": 1,
        "PidsLimit": 1,
        "LogConfig": {"Type": "journald", "Config": {}},
        **dict.fromkeys(("NetworkMode", "IpcMode", "PidMode", "UTSMode"), ""),
    }
    mounts = [{"Type": "bind", "Source": "/etc"}, {"Type": "volume", "Source": "/var/lib/docker"}]
    attributes = {"HostConfig": host, "Config": {"User": "1000"}, "Mounts": mounts}
    allowed = [
        {"container": "cvat-*", "exception": "capability CHOWN"},
        {"container": "other", "exception": "privileged"},
    ]
    assert exposure.beyond("cvat-ui-1", attributes, True, allowed) == [
        "no seccomp profile",
        "privileged",
        "the host's /etc",
    ]
    assert exposure.beyond("somebody", attributes, False, allowed) == ["privileged", "the host's /etc"]


def test_the_module_says_who_listens(run: Run) -> None:
    with socket.create_server(("0.0.0.0", 0)) as wide, socket.create_server(("127.0.0.1", 0)) as narrow:
        seen = run(exposure, check=True)
        loopback = {each["port"]: each["loopback"] for each in seen["listeners"]}
        assert loopback[wide.getsockname()[1]] is False
        assert loopback[narrow.getsockname()[1]] is True
    assert (seen["changed"], seen["door"]) == (False, {})


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.53", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.1.2.7", False),
    ],
)
def test_loopback_is_known(address: str, loopback: bool) -> None:
    assert exposure.is_loopback(address) is loopback
