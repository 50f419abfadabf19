"""The task that makes a bundle: what a playbook says of repositories, and sentences where it cannot be made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from ansible.errors import AnsibleActionFail
from ansible_collections.endolab.active_learning.bundling import making
from ansible_collections.endolab.active_learning.plugins.action import bundle
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError
from ansible_collections.endolab.active_learning.plugins.plugin_utils import bundling_library

KEYRING = Path("/usr/share/keyrings/debian.gpg")
GIVEN: dict[str, Any] = {
    "path": "/srv/bundle",
    "images": {},
    "packages": [],
    "repositories": [],
    "keyring": str(KEYRING),
    "lock": "images.lock",
    "model": {"source": "https://models/model.zip", "checksum": "sha1:0", "name": "tools"},
    "system": {},
}


def test_a_distribution_has_suites_and_the_keys_of_the_keyring() -> None:
    found = bundle.source({"name": "debian", "url": "http://deb/debian/", "suites": "trixie"}, KEYRING)
    assert (found.url, found.suites, found.keyring, found.key) == ("http://deb/debian", "trixie", KEYRING, "")
    assert "URIs: http://deb/debian/\nSuites: trixie\n" in found.source


def test_a_publisher_has_a_source_and_a_key_of_its_own() -> None:
    own = {"name": "docker", "url": "http://docker", "source": "Types: deb\n", "key": "http://docker/gpg"}
    found = bundle.source({**own, "fingerprint": "A" * 40}, KEYRING)
    assert (found.source, found.key, found.fingerprint, found.suites) == (own["source"], own["key"], "A" * 40, "")


def run(monkeypatch: pytest.MonkeyPatch, check: bool = False, **given: Any) -> dict[str, Any]:
    """The task, without what Ansible does around it."""
    monkeypatch.setattr(bundle.ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(bundle.ActionModule, "validate_argument_spec", lambda *_, **__: (None, GIVEN | given))
    action = bundle.ActionModule.__new__(bundle.ActionModule)
    action._task = SimpleNamespace(check_mode=check)
    return dict(action.run(task_vars={}))


@pytest.mark.parametrize("fault", [BundleError("the disk is full"), requests.ConnectionError("nobody answers")])
def test_what_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def make(*_: Any) -> str:
        raise fault

    monkeypatch.setattr(making, "make", make)
    with pytest.raises(AnsibleActionFail, match=str(fault)):
        run(monkeypatch)


def test_check_mode_refuses_a_directory_of_somebody_elses_and_makes_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(monkeypatch, check=True, path=str(tmp_path / "new"))["changed"]
    assert not (tmp_path / "new").exists()
    (tmp_path / "photos").touch()
    with pytest.raises(AnsibleActionFail, match="holds photos, which is not of a bundle"):
        run(monkeypatch, check=True, path=str(tmp_path))


def test_check_mode_refuses_a_model_that_is_not_there_or_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = {"source": str(tmp_path / "model.zip"), "checksum": "sha1:0", "name": "tools"}
    with pytest.raises(AnsibleActionFail, match=r"There is no file .*/model[.]zip, which monailabel_bundle names"):
        run(monkeypatch, check=True, path=str(tmp_path / "new"), model=model)
    (tmp_path / "model.zip").touch()
    with pytest.raises(AnsibleActionFail, match=r"model[.]zip is not what monailabel_bundle_checksum says, sha1:0"):
        run(monkeypatch, check=True, path=str(tmp_path / "new"), model=model)


def test_a_library_that_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(_: str) -> None:
        raise ModuleNotFoundError("No module named 'oras'")

    monkeypatch.setattr(bundling_library, "import_module", import_module)
    with pytest.raises(AnsibleActionFail, match=r"'oras'.*requirements\.txt"):
        bundling_library.bundling("making")
