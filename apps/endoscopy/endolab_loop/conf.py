"""The --conf keys: what there is, and what is wrong with what was given.

MONAI Label accepts any key in silence, so a typing error shows as a loop that does something else.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

# How MONAI Label's own code reads a key.
READ = re.compile(r"""\bconf\.get\(\s*["'](\w+)["']""")

DEFAULT_LABELS = [
    {"name": "Tool", "attributes": [], "color": "#66ff66"},
    {"name": "InBody", "attributes": [], "color": "#ff0000"},
    {"name": "OutBody", "attributes": [], "color": "#0000ff"},
]


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _parse(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value else value or DEFAULT_LABELS


class Conf(BaseModel):
    """The keys that the loop reads itself; README's table says what each of them means."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    epistemic_enabled: bool = False
    epistemic_top_k: int = 10
    auto_finetune_models: Annotated[list[str], BeforeValidator(_split)] = []
    auto_finetune_check_interval: int = Field(60, ge=1)
    cvat_project: str = Field("MONAILabel", min_length=1, max_length=256)
    cvat_task_prefix: str = Field("ActiveLearning_Iteration", min_length=1, max_length=200)
    cvat_organization: str = ""
    cvat_image_quality: int = Field(70, ge=1, le=100)
    cvat_segment_size: int = Field(1, ge=0)
    cvat_labels: Annotated[list[dict[str, Any]], BeforeValidator(_parse)] = DEFAULT_LABELS
    cvat_normalize_label: bool = True
    cvat_preannotate: Literal["auto", "always", "never"] = "auto"
    train_max_epochs: int = Field(50, ge=1)
    train_batch_size: int = Field(0, ge=0)
    train_val_split: float = Field(0.2, gt=0, lt=1)
    train_early_stop: int = Field(0, ge=0)
    train_keep: int = Field(3, ge=0)

    @property
    def label_map(self) -> dict[str, int]:
        """The value in a label image of each label of the project."""
        return {label["name"]: value for value, label in enumerate(self.cvat_labels, start=1)}


class ConfError(ValueError):
    """One sentence for each key that is wrong."""


def keys_read_below(directories: Iterable[Path]) -> set[str]:
    """The keys that the Python files below `directories` read."""
    files = (file for directory in directories for file in directory.rglob("*.py"))
    return {key for file in files for key in READ.findall(file.read_text(encoding="utf-8", errors="replace"))}


def read(given: Mapping[str, str], known: Iterable[str]) -> Conf:
    """The loop's own conf from what `--conf` gave; `known` are the keys that others read.

    Raises ConfError, with a sentence for each key that nobody reads or whose value is wrong.
    """
    names = sorted({*known, *Conf.model_fields})
    faults = [_unknown(key, names) for key in given if key not in names]
    try:
        conf = Conf.model_validate({key: value for key, value in given.items() if key in Conf.model_fields})
    except ValidationError as error:
        for fault in error.errors():
            key = str(fault["loc"][0])
            faults.append(f"--conf {key} is {given[key]!r}: {fault['msg'].lower()}")
        raise ConfError("; ".join(faults)) from None
    if faults:
        raise ConfError("; ".join(faults))
    return conf


def _unknown(key: str, names: list[str]) -> str:
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    return f"--conf {key} is read by nobody; {hint}"
