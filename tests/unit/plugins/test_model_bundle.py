"""The module model_bundle."""

from __future__ import annotations

import errno
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.endolab.active_learning.plugins.module_utils.model_bundles import REQUIRED, faults
from ansible_collections.endolab.active_learning.plugins.modules import model_bundle

Run = Callable[..., dict[str, Any]]
WHOLE = dict.fromkeys(REQUIRED, "{}")


def archive(path: Path, content: dict[str, str]) -> dict[str, str]:
    """Writes a bundle's zip; returns it as the module's options."""
    with zipfile.ZipFile(path, "w") as file:
        for name, text in content.items():
            file.writestr(name, text)
    return {"src": str(path), "checksum": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"}


@pytest.mark.parametrize("top", ["", "bundle/"])
def test_a_whole_bundle_is_staged_once(run: Run, tmp_path: Path, top: str) -> None:
    options = archive(tmp_path / "b.zip", {top + name: text for name, text in WHOLE.items()})
    dest = tmp_path / "model" / "bundle"
    assert run(model_bundle, check=True, dest=str(dest), **options)["changed"] is True
    assert not dest.exists()
    assert run(model_bundle, dest=str(dest), **options)["changed"] is True
    assert (dest / "models/model.pt").read_text() == "{}"
    assert [path.name for path in dest.parent.iterdir()] == ["bundle"]
    (dest / "models/model.pt").write_text("trained")
    (tmp_path / "b.zip").unlink()
    assert run(model_bundle, dest=str(dest), **options)["changed"] is False
    assert (dest / "models/model.pt").read_text() == "trained"


def test_a_disk_that_gives_out_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(*_: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(model_bundle, "unpack", unpack)
    result = run(model_bundle, dest=str(tmp_path / "model"), **archive(tmp_path / "b.zip", WHOLE))
    assert "No space left on device" in result["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


def test_a_half_made_bundle_is_moved_aside(run: Run, tmp_path: Path) -> None:
    dest = tmp_path / "bundle"
    (dest / "models").mkdir(parents=True)
    (dest / "models/model.pt").write_text("half")
    result = run(model_bundle, dest=str(dest), **archive(tmp_path / "b.zip", WHOLE))
    assert (Path(result["moved_aside"]) / "models/model.pt").read_text() == "half"
    assert faults(dest) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({**WHOLE, "configs/train.json": "{"}, "The bundle lacks configs/train.json"),
        ({**WHOLE, "models/model.pt": ""}, "The bundle lacks models/model.pt"),
        ({"configs/inference.json": "{}", "LICENSE": ""}, "The bundle lacks configs/train.json, configs/metadata.json"),
        ({**WHOLE, "../outside": "x"}, "lies outside of it"),
    ],
)
def test_a_bundle_that_is_not_whole_is_not_staged(
    run: Run, tmp_path: Path, content: dict[str, str], sentence: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    result = run(model_bundle, dest=str(tmp_path / "out" / "bundle"), **archive(folder / "b.zip", content))
    assert sentence in result["msg"]
    assert list((tmp_path / "out").iterdir()) == []


def test_another_sum_is_refused(run: Run, tmp_path: Path) -> None:
    options = archive(tmp_path / "b.zip", WHOLE) | {"checksum": "sha256:" + "0" * 64}
    assert "was expected. Nothing was staged" in run(model_bundle, dest=str(tmp_path / "bundle"), **options)["msg"]


def test_leftovers_of_an_interrupted_run_are_removed(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".bundle.staging-old").mkdir()
    run(model_bundle, dest=str(tmp_path / "bundle"), **archive(tmp_path / "b.zip", WHOLE))
    assert not (tmp_path / ".bundle.staging-old").exists()
