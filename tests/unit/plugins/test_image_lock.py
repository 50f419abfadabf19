"""The lookup image_lock: what is locked runs by its digest, and what does not fit is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.endolab.active_learning.plugins.lookup.image_lock import locked

A, B = "sha256:" + 64 * "a", "sha256:" + 64 * "b"
TAGS = {"caddy": "caddy:2.10.2", "cvat_ui": "cvat/ui:v2.73.0"}
LOCK = f"# written\ncaddy: caddy:2.10.2@{A}\ncvat_ui: cvat/ui:v2.73.0@{B}\n"


def read(directory: Path, text: str) -> dict[str, Any]:
    (directory / "images.lock").write_text(text, encoding="utf-8")
    found: dict[str, Any] = locked(directory / "images.lock", TAGS, "registry.lab:5000/")
    return found


def test_a_locked_image_has_its_digest_in_the_place_of_its_tag(tmp_path: Path) -> None:
    assert read(tmp_path, LOCK) == {
        "names": {"caddy": "registry.lab:5000/caddy:2.10.2", "cvat_ui": "registry.lab:5000/cvat/ui:v2.73.0"},
        "images": {"caddy": f"registry.lab:5000/caddy@{A}", "cvat_ui": f"registry.lab:5000/cvat/ui@{B}"},
        "digests": {"registry.lab:5000/caddy:2.10.2": A, "registry.lab:5000/cvat/ui:v2.73.0": B},
        "faults": [],
    }


def test_without_a_file_images_have_their_tags_and_nothing_is_wrong(tmp_path: Path) -> None:
    found = locked(tmp_path / "images.lock", TAGS, "")
    assert found == {"names": TAGS, "images": TAGS, "digests": {}, "faults": []}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            LOCK.replace("caddy:2.10.2", "caddy:2.10.1"),
            "caddy is locked as caddy:2.10.1, and images.yml has caddy:2.10.2",
        ),
        (
            LOCK.replace(A, A[:-1]),
            f'caddy is "caddy:2.10.2@{A[:-1]}", and not caddy:2.10.2@sha256: with 64 hexadecimal digits',
        ),
        (LOCK.replace(A, A.upper()), "and not caddy:2.10.2@sha256: with 64 hexadecimal digits"),
        (LOCK.replace(f"caddy:2.10.2@{A}", "[]"), 'caddy is "[]", and not'),
        (LOCK.replace("cvat_ui", "cvat_uis"), "it has cvat_uis, which is no image of the stack"),
        (LOCK.replace("cvat_ui", "cvat_uis"), "it lacks cvat_ui"),
        ("postgres\n", "it is no YAML of a name and an image a line"),
        ("", "it is no YAML of a name and an image a line"),
    ],
    ids=["another tag", "a short digest", "upper case", "a list", "a key more", "a key less", "no YAML", "nothing"],
)
def test_what_does_not_fit_is_said_and_runs_by_no_digest(tmp_path: Path, text: str, fault: str) -> None:
    found = read(tmp_path, text)
    assert fault in "\n".join(found["faults"])
    wrong = next(key for key in TAGS if found["names"][key] not in found["digests"])
    assert found["images"][wrong] == found["names"][wrong]


MERGE = f"<<<<<<< HEAD\ncaddy: caddy:2.10.2@{A}\n=======\ncaddy: caddy:2.10.2@{B}\n>>>>>>> other\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (LOCK + "postgres\n", {"caddy": A, "cvat_ui": B}),
        (LOCK.replace(f"caddy: caddy:2.10.2@{A}\n", MERGE), {"cvat_ui": B}),
        (LOCK + f"caddy: caddy:2.10.2@{B}\n", {"cvat_ui": B}),
        (LOCK + f"caddy: caddy:2.10.2@{A}\n", {"caddy": A, "cvat_ui": B}),
    ],
    ids=["a stray line", "a merge that is not done", "twice, as after a merge", "twice the same"],
)
def test_a_line_that_does_not_fit_takes_no_other_with_it(tmp_path: Path, text: str, kept: dict[str, str]) -> None:
    found = read(tmp_path, text)
    assert found["digests"] == {found["names"][key]: digest for key, digest in kept.items()}
    assert any("caddy twice" in fault for fault in found["faults"]) == ("caddy" not in kept)


def test_a_playbook_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "images.lock").write_text(LOCK, encoding="utf-8")
    templar = Templar(loader=DataLoader(), variables={"file": str(tmp_path / "images.lock"), "tags": TAGS})
    asked = "{{ lookup('endolab.active_learning.image_lock', file, tags=tags).images.caddy }}"
    assert templar.template(trust_as_template(asked)) == f"caddy@{A}"
