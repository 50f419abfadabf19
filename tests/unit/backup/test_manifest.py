"""What a manifest counts of the trees of a lab."""

from __future__ import annotations

import pytest
from endolab_backup import manifest
from endolab_backup.trees import Sum


@pytest.mark.parametrize("tree", ["studies", "studies-tools"])
def test_frames_and_labels_count_whatever_their_loop_is_called(tree: str) -> None:
    files = ["a.png", "b.JPEG", "loop/a.png", "labels/final/a.png", "labels/a.png", "notes.txt"]
    sums = dict.fromkeys((f"{tree}/{name}" for name in files), Sum("0" * 64, 1, 0))
    found = manifest.counts(None, {**sums, "apps/model.pt": Sum("0" * 64, 1, 0), "studiesx/c.png": Sum("0" * 64, 1, 0)})
    assert found == {"images": 2, "label files": 1, "weights": 1}
