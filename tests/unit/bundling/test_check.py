"""Before a host is touched, its bundle is whole, or each file that is not as it should be is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.action import bundle_check as action
from ansible_collections.endolab.active_learning.plugins.module_utils import bundle_manifest
from ansible_collections.endolab.active_learning.plugins.modules import bundle_check
from ansible_collections.endolab.active_learning.plugins.modules.bundle_check import BundleError, check

ABOUT = {
    "system": {"id": "debian", "codename": "trixie", "architecture": "amd64"},
    "suites": {},
    "images": {"redis:7": "x"},
    "packages": ["nftables"],
    "model": {"name": "tools", "checksum": "sha1:0"},
}
FILES = {"images/blobs/sha256/aa": b"a layer", "packages/docker/x.deb": b"a package", "model/tools.zip": b"a model"}
TOTAL = sum(map(len, FILES.values()))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(data)
    bundle_manifest.write(tmp_path, ABOUT, {name: bundle_manifest.digest(tmp_path / name) for name in FILES})
    return tmp_path


def number(bundle: Path) -> str:
    return str(bundle_manifest.digest(bundle / bundle_manifest.MANIFEST))


def test_a_whole_bundle_says_what_it_is(bundle: Path) -> None:
    found = check(bundle, number(bundle), 0, 60)
    assert found == {**ABOUT, "total": TOTAL, "checked": {"files": 3, "bytes": TOTAL}, "whole": True}


def flip(bundle: Path) -> None:
    (bundle / "model/tools.zip").write_bytes(b"a mod%l")


def shorten(bundle: Path) -> None:
    (bundle / "packages/docker/x.deb").write_bytes(b"a pack")


def add(bundle: Path) -> None:
    (bundle / "packages/docker/y.deb").write_bytes(b"another")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flip, "model/tools.zip is damaged"),
        (shorten, "packages/docker/x.deb has 6 bytes, not 9"),
        (add, "packages/docker/y.deb is not of the bundle"),
        (lambda bundle: (bundle / "model/tools.zip").unlink(), "model/tools.zip is missing"),
        (lambda bundle: (bundle / "model/link").symlink_to("tools.zip"), "model/link is not of the bundle"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named(bundle: Path, change: Callable[[Path], Any], said: str) -> None:
    change(bundle)
    with pytest.raises(BundleError, match=f"is not whole: {said}[.]"):
        check(bundle, "", 0, 60)


def test_a_file_that_cannot_be_read_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bundle_check, "digest", digest)
    with pytest.raises(BundleError, match=r"images/blobs/sha256/aa cannot be read \(Input/output error\); model/"):
        check(bundle, "", 0, 60)


def test_several_are_named_at_once(bundle: Path) -> None:
    shorten(bundle)
    add(bundle)
    with pytest.raises(BundleError, match=r"x.deb has 6 bytes, not 9; packages/docker/y.deb is not of the bundle"):
        check(bundle, "", 0, 60)


def test_another_bundle_than_the_one_that_is_meant_is_refused(bundle: Path) -> None:
    with pytest.raises(BundleError, match=f"is {number(bundle)}, and bundle_digest is 00"):
        check(bundle, "00", 0, 60)


def test_a_damaged_manifest_is_named(bundle: Path) -> None:
    manifest = bundle / bundle_manifest.MANIFEST
    manifest.write_text(manifest.read_text().replace("trixie", "trixia"), encoding="utf-8")
    with pytest.raises(BundleError, match=r"manifest.json is damaged"):
        check(bundle, "", 0, 60)


@pytest.mark.parametrize("name", [bundle_manifest.MANIFEST, bundle_manifest.SUM])
def test_a_bundle_that_was_not_finished_is_none(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=r"holds no bundle.*finished by running it again"):
        check(bundle, "", 0, 60)


def test_one_of_another_form_is_refused(bundle: Path) -> None:
    manifest = json.loads((bundle / bundle_manifest.MANIFEST).read_text(encoding="utf-8"))
    (bundle / bundle_manifest.MANIFEST).write_text(json.dumps({**manifest, "format": 2}), encoding="utf-8")
    (bundle / bundle_manifest.SUM).write_text(f"{number(bundle)}  manifest.json\n", encoding="utf-8")
    with pytest.raises(BundleError, match="of form 2, and this Endolab reads form 1"):
        check(bundle, "", 0, 60)


def test_a_host_is_asked_bit_by_bit_and_says_how_far_it_is(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action.ActionBase, "run", lambda *_: {})
    lines: list[str] = []
    monkeypatch.setattr(action, "Display", lambda: SimpleNamespace(display=lines.append))
    asked: list[int] = []

    def ask(self: Any, module_args: dict[str, Any], **_: Any) -> dict[str, Any]:
        asked.append(module_args["skip"])
        # As a file that takes all the time there is.
        return dict(check(Path(module_args["path"]), "", module_args["skip"], 0))

    monkeypatch.setattr(action.ActionModule, "_execute_module", ask)
    task = action.ActionModule.__new__(action.ActionModule)
    task._task = SimpleNamespace(args={"path": str(bundle)})
    assert task.run(task_vars={"inventory_hostname": "gpu1"})["whole"]
    assert asked == [0, 1, 2]
    assert [re.sub(r", \d.*", "", line) for line in lines] == [
        f"gpu1, reading the bundle: {done} bytes of {TOTAL} bytes" for done in (7, 14)
    ]
