"""What makes a MONAI bundle whole."""

from __future__ import annotations

import json
from pathlib import Path

# Files without which the app has nothing to start or to train with.
REQUIRED = ["configs/inference.json", "configs/train.json", "configs/metadata.json", "models/model.pt"]


def faults(bundle: Path) -> list[str]:
    """The required files that are missing, empty, or (JSON) damaged."""
    found = []
    for name in REQUIRED:
        file = bundle / name
        if not file.is_file() or file.stat().st_size == 0:
            found.append(name)
        elif file.suffix == ".json":
            try:
                json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                found.append(name)
    return found
