"""Files that come in pieces, or wrong, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.endolab.active_learning.bundling.fetching import (
    ATTEMPTS,
    PIECE,
    Wanted,
    fetch,
    plain,
)
from ansible_collections.endolab.active_learning.plugins.module_utils.bundle_manifest import BundleError

DATA = bytes(range(256)) * 4000
Serve = Callable[..., tuple[str, list[str]]]


def wanted(tmp_path: Path, url: str) -> Wanted:
    return Wanted(tmp_path / "a" / "file", url, plain(url), len(DATA), f"sha256:{hashlib.sha256(DATA).hexdigest()}")


def fetched(one: Wanted) -> int:
    """Fetches it, and returns how many bytes were told of."""
    told: list[int] = []
    fetch(one, told.append)
    assert one.path.read_bytes() == DATA
    return sum(told)


def test_what_is_cut_off_goes_on_from_there(tmp_path: Path, pieces: Serve) -> None:
    url, asked = pieces({"/x": DATA}, piece=5 * PIECE)
    assert fetched(wanted(tmp_path, f"{url}/x")) == len(DATA)
    assert asked == ["", f"bytes={5 * PIECE}-", f"bytes={10 * PIECE}-", f"bytes={15 * PIECE}-"]


def test_another_run_goes_on_from_where_the_last_was_killed(tmp_path: Path, pieces: Serve) -> None:
    url, _ = pieces({"/x": DATA}, piece=PIECE)
    one = wanted(tmp_path, f"{url}/x")
    with pytest.raises(BundleError, match=f"was cut off {ATTEMPTS} times.*Run this again"):
        fetch(one, lambda _: None)
    assert not one.path.exists()
    url, asked = pieces({"/x": DATA})
    assert fetched(wanted(tmp_path, f"{url}/x")) == len(DATA)
    assert asked == [f"bytes={ATTEMPTS * PIECE}-"]


def test_a_server_that_knows_no_ranges_is_asked_for_all(tmp_path: Path, pieces: Serve) -> None:
    url, _ = pieces({"/x": DATA}, ranges=False)
    one = wanted(tmp_path, f"{url}/x")
    one.path.parent.mkdir()
    one.path.with_name("file.part").write_bytes(b"something else")
    assert fetched(one) == len(DATA)


def test_what_is_there_is_not_asked_for(tmp_path: Path, pieces: Serve) -> None:
    url, asked = pieces({"/x": DATA})
    one = wanted(tmp_path, f"{url}/x")
    fetched(one)
    assert fetched(one) == len(DATA)
    assert asked == [""]


def test_what_is_there_and_damaged_is_fetched_again(tmp_path: Path, pieces: Serve) -> None:
    url, _ = pieces({"/x": DATA})
    one = wanted(tmp_path, f"{url}/x")
    one.path.parent.mkdir()
    one.path.write_bytes(DATA[:-1] + b"!")
    assert fetched(one) == len(DATA)


def test_something_else_is_named_and_thrown_away(tmp_path: Path, pieces: Serve) -> None:
    url, _ = pieces({"/x": DATA[:-1] + b"!"})
    with pytest.raises(BundleError, match=f"{url}/x is not what it should be"):
        fetch(wanted(tmp_path, f"{url}/x"), lambda _: None)
    assert list((tmp_path / "a").iterdir()) == []


def test_what_nobody_has_is_named(tmp_path: Path, pieces: Serve) -> None:
    url, _ = pieces({})
    with pytest.raises(BundleError, match=f"{url}/x cannot be fetched: 404"):
        fetch(wanted(tmp_path, f"{url}/x"), lambda _: None)
