"""MONAI Label's datastore of the frames; what it says to CVAT is the loop's affair."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from monailabel.datastore.cvat import CVATDatastore
from monailabel.datastore.local import LocalDatastoreModel
from monailabel.interfaces.datastore import DefaultLabelTag
from numpy.typing import NDArray
from PIL import Image

from . import health

logger = logging.getLogger(__name__)


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    """One thread, of one process, at a time."""

    @functools.wraps(method)
    def call(self: LoopDatastore, *args: Any, **kwargs: Any) -> Any:
        with self.mutex, self.turn:
            return method(self, *args, **kwargs)

    return call


def _up_to_date(method: Callable[..., Any]) -> Callable[..., Any]:
    """One at a time, and with what the others have written before."""

    @functools.wraps(method)
    def call(self: LoopDatastore, *args: Any, **kwargs: Any) -> Any:
        self._init_from_datastore_file()
        return method(self, *args, **kwargs)

    return _alone(call)


class LoopDatastore(CVATDatastore):
    """The shipped datastore, whose index is written whole, and changed by one thread of one process at a time.

    Cures: an index that is cut when its writer is killed, and then stops every later start; threads that see it empty
    while another one reads it anew; and scores of a child's that the server writes over from its own memory. The label
    files are the truth; the index can always be made from files.
    """

    def __init__(self, datastore_path: str, *args: Any, **kwargs: Any) -> None:
        self.mutex, own = threading.RLock(), Path(datastore_path) / health.STATUS.parent
        own.mkdir(parents=True, exist_ok=True)
        self.turn = FileLock(own / "index.lock")
        self._seen: list[int] = []
        self._nameless: set[str] = set()
        _set_aside_if_damaged(Path(datastore_path) / "datastore_v2.json")
        super().__init__(datastore_path, *args, **kwargs)

    # The mutex and the turn come before the shipped lock on the file, everywhere.
    add_image = _up_to_date(CVATDatastore.add_image)
    save_label = _up_to_date(CVATDatastore.save_label)
    update_image_info = _up_to_date(CVATDatastore.update_image_info)
    update_label_info = _up_to_date(CVATDatastore.update_label_info)
    _init_from_datastore_file = _alone(CVATDatastore._init_from_datastore_file)
    _reconcile_datastore = _alone(CVATDatastore._reconcile_datastore)

    @_alone
    def _update_datastore_file(self, lock: bool = True) -> None:
        with FileLock(self._lock_file) if lock else contextlib.nullcontext():
            content = json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str)
            self._ignore_event_config = True
            _replace(Path(self._datastore_config_path), content.encode())
            self._config_ts = Path(self._datastore_config_path).stat().st_mtime

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        """Without those whose names no index can hold, because they are not UTF-8."""
        found: dict[str, str] = super()._list_files(path, patterns)
        strange = {name for name in found if not _is_utf8(name)}
        for name in strange - self._nameless:
            logger.warning("%r is left out: its name is not UTF-8", name)
        self._nameless |= strange
        return {name: file for name, file in found.items() if name not in strange}

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """The labelled frames for a training, by their own names also where these are links."""
        found: list[dict[str, Any]] = super().datalist(full_path)
        labelled = self._datastore.filter_by_tag(DefaultLabelTag.FINAL)
        if full_path:
            for item, (name, entry) in zip(found, labelled.items(), strict=True):
                item["image"] = str(self._file(name, entry))
        return found

    def _file(self, name: str, entry: Any) -> Path:
        """A frame's file, and not what it may lead to, as two links may lead to files of one name."""
        return Path(self._datastore.image_path(), self._filename(name, entry.image.ext)).absolute()

    @_alone
    def frames(self) -> dict[str, tuple[Path, bool, dict[str, Any]]]:
        """Every frame's file, whether it has a final label, and what is known of it; as the files are now."""
        watched = (self._datastore.image_path(), self._datastore.label_path(DefaultLabelTag.FINAL))
        changed = [Path(path).stat().st_mtime_ns for path in (*watched, self._datastore_config_path)]
        if changed != self._seen:
            self.refresh()
        self._seen = changed
        return {
            name: (
                self._file(name, entry),
                DefaultLabelTag.FINAL in entry.labels,
                dict(entry.image.info),
            )
            for name, entry in self._datastore.objects.items()
        }

    def save_final_label(self, frame: str, label: NDArray[np.uint8]) -> None:
        """Writes a frame's final label image; with cvat_normalize_label false, in the labels' colours."""
        if not self.normalize_label:
            colours = [(0, 0, 0), *(bytes.fromhex(each.get("color", "#ffffff")[1:]) for each in self.labels)]
            label = np.array([tuple(colour) for colour in colours], np.uint8)[label]
        file = Path(self._datastore.label_path(DefaultLabelTag.FINAL)) / f"{frame}.png"
        partial = file.with_suffix(".partial")
        Image.fromarray(label).save(partial, "PNG")
        _replace(file, partial.read_bytes())
        partial.unlink()


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    """Writes a file that is whole, also after a power cut."""
    partial = path.with_name(path.name + ".new")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _set_aside_if_damaged(index: Path) -> None:
    try:
        LocalDatastoreModel.model_validate_json(index.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        logger.error("%s is damaged; it is made anew from the files, and its scores with it", index)
        index.rename(index.with_suffix(".damaged"))
