"""The module unneeded_packages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.modules import unneeded_packages
from ansible_collections.endolab.active_learning.plugins.modules.unneeded_packages import of_dpkg, of_rpm, unneeded

Run = Callable[..., dict[str, Any]]

DPKG = """\
base\tinstalled\t\t, libc6 (>= 2.36)\t
libc6\tinstalled\t\t, \t
iptables\tinstalled\t\t, libc6, libedit2 | libreadline8\tnftables
libreadline8\tinstalled\t\t, \t
nftables\tinstalled\t\t, libnftables1 (= 1.1), libc6:any\t
libnftables1\tinstalled\t\t, libedit2\t
libedit2\tinstalled\t\t, \t
restic\tinstalled\t\t, \tfuse3
fuse3\tinstalled\t\t, \t
python3-requests\tinstalled\t\t, python3-urllib3 (<< 3)\t
python3-urllib3\tinstalled\t\t, \t
theirs\tinstalled\t\t, python3-urllib3, mail-transport\tfuse3
postfix\tinstalled\tmail-transport (= 1)\t, \t
docker-ce\tconfig-files\t\t, \t
"""
BEFORE = {"base", "libc6", "iptables", "libreadline8"}
OURS = {"nftables", "restic", "python3-requests", "docker-ce"}
AUTOMATIC = {"libnftables1", "libedit2", "fuse3", "python3-urllib3", "postfix", "libreadline8", "libc6"}


def test_what_came_with_endolab_goes_and_what_somebody_needs_stays() -> None:
    installed, settings_only = of_dpkg(DPKG)
    gone = unneeded(installed, BEFORE, OURS, AUTOMATIC)
    # iptables recommends nftables, and could use libedit2, but has lived without them.
    assert gone == {"nftables", "libnftables1", "libedit2", "restic", "python3-requests"}
    assert settings_only == {"docker-ce"}


def test_what_no_package_of_endolabs_has_brought_stays() -> None:
    """An old kernel is such a package: nothing needs it, and the host may run on it."""
    installed, _ = of_dpkg("linux-image-6.12.40\tinstalled\t\t, \t\nrestic\tinstalled\t\t, \t\n")
    assert unneeded(installed, set(), {"restic"}, {"linux-image-6.12.40"}) == {"restic"}


def test_packages_that_need_each_other_go_together() -> None:
    installed, _ = of_dpkg("restic\tinstalled\t\t, a\t\na\tinstalled\t\t, b\t\nb\tinstalled\t\t, a\t\n")
    assert unneeded(installed, set(), {"restic"}, {"a", "b"}) == {"restic", "a", "b"}


def test_what_somebody_needs_of_endolabs_stays() -> None:
    installed, _ = of_dpkg("restic\tinstalled\t\t, \t\ntheirs\tinstalled\t\t, restic\t\n")
    assert unneeded(installed, set(), {"restic"}, set()) == set()


def test_rpm_knows_files_and_capabilities() -> None:
    installed = of_rpm(
        "N nftables\nP nftables\nP /usr/sbin/nft\nR libnftables.so.1()(64bit)\n"
        "N libnftables\nP libnftables.so.1()(64bit)\n"
        "N theirs\nP theirs\nR /usr/sbin/nft\n"
    )
    everything = {"nftables", "libnftables"}
    assert unneeded(installed, set(), {"nftables"}, {"libnftables"}) == set()
    del installed["theirs"]
    assert unneeded(installed, set(), {"nftables"}, {"libnftables"}) == everything


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that the module has run, on a host with the packages above."""
    ran: list[list[str]] = []

    def run_command(_: object, command: list[str], **__: object) -> tuple[int, str, str]:
        ran.append(command)
        automatic = "\n".join(AUTOMATIC - {"libreadline8"})
        return 0, {"dpkg-query": DPKG, "apt-mark": automatic}[command[0]], ""

    monkeypatch.setattr(unneeded_packages.AnsibleModule, "run_command", run_command)
    monkeypatch.setattr(unneeded_packages.shutil, "which", lambda name: f"/usr/bin/{name}")
    return ran


def found(**more: Any) -> dict[str, Any]:
    return {"packages": sorted(BEFORE), "automatic": [], "settings_only": [], **more}


def test_it_remembers_what_may_go(run: Run, tmp_path: Path, commands: list[list[str]]) -> None:
    memory = tmp_path / "memory.json"
    options = {"names": sorted(OURS), "found": found(), "memory": str(memory)}
    assert run(unneeded_packages, check=True, **options)["packages"]
    assert not memory.exists()
    result = run(unneeded_packages, **options)
    assert result["packages"] == sorted([*json.loads(memory.read_text()), "docker-ce"])
    # What somebody else needs once the rest is gone is not Endolab's any more; libedit2 was left over.
    memory.write_text('["libedit2"]')
    assert run(unneeded_packages, **{**options, "names": ["nftables"]})["packages"] == [
        "libedit2",
        "libnftables1",
        "nftables",
    ]


def test_a_package_that_was_there_is_marked_as_it_was(run: Run, tmp_path: Path, commands: list[list[str]]) -> None:
    options = {
        "names": ["libreadline8"],
        "found": found(automatic=["libreadline8"]),
        "memory": str(tmp_path / "memory"),
    }
    assert run(unneeded_packages, check=True, **options)["changed"] is True
    assert ["apt-mark", "auto", "libreadline8"] not in commands
    result = run(unneeded_packages, **options)
    assert (result["changed"], result["packages"]) == (True, [])
    assert ["apt-mark", "auto", "libreadline8"] in commands


def test_settings_that_were_there_before_stay(run: Run, tmp_path: Path, commands: list[list[str]]) -> None:
    options = {"names": sorted(OURS), "memory": str(tmp_path / "memory")}
    result = run(unneeded_packages, **options, found=found(settings_only=["docker-ce", "restic"]))
    assert "docker-ce" not in result["packages"]
    assert result["settings_stay"] == ["restic"]
