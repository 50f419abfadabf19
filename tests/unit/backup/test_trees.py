"""Directories as they are at one moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from endolab_backup import directories, trees
from endolab_backup.settings import Fault, Tree


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")


def read(root: Path) -> dict[str, str]:
    """The content of all files, by their path."""
    return {str(file.relative_to(root)): file.read_text(encoding="utf-8") for file in trees.files(root)}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    write(
        tmp_path,
        {
            "a.png": "frame",
            "index.json": "{}",
            "labels/final/a.png": "label",
            "labels/final/b.png.new": "half",
            "cache/chunk": "made again",
            ".training-bundle/model.pt": "half",
        },
    )
    (tmp_path / "link").symlink_to("a.png")
    return Tree("studies", tmp_path, tmp_path, linked=("*.png",), skip=("cache",), foreign_files_stay=True)


def test_what_is_written_afterwards_does_not_change_what_is_linked(tree: Tree) -> None:
    linked = trees.link(tree)
    (tree.path / "index.json").write_text("rewritten in place", encoding="utf-8")
    write(tree.path, {"a.new": "another frame"})
    (tree.path / "a.new").replace(tree.path / "a.png")
    (tree.path / "labels/final/a.png").unlink()
    assert read(linked) == {"a.png": "frame", "index.json": "{}", "labels/final/a.png": "label", "link": "frame"}
    assert (linked / "link").is_symlink()


def test_unfinished_and_skipped_things_are_left_out(tree: Tree) -> None:
    linked = trees.link(tree)
    assert {path.name for path in linked.iterdir()} == {"a.png", "index.json", "labels", "cache", "link"}
    assert list((linked / "cache").iterdir()) == []


def test_linking_again_adds_what_has_come_and_keeps_what_has_gone(tree: Tree) -> None:
    linked = trees.link(tree)
    (tree.path / "a.png").unlink()
    write(tree.path, {"b.png": "new", "labels/c.new": "relabelled", "index.json": "[1]"})
    (tree.path / "labels/c.new").replace(tree.path / "labels/final/a.png")
    trees.link(tree)
    trees.link(tree)
    assert read(linked) == {
        "a.png": "frame",
        "b.png": "new",
        "index.json": "[1]",
        "labels/final/a.png": "relabelled",
        "link": "frame",
    }


def test_a_link_to_itself_is_kept_as_it_is(tree: Tree) -> None:
    (tree.path / "loop.png").symlink_to("loop.png")
    assert (trees.link(tree) / "loop.png").readlink() == Path("loop.png")


@pytest.mark.parametrize("name", ["", "labels", "labels/final"])
def test_a_link_in_place_of_a_directory_of_links_is_not_followed(
    tree: Tree, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """Whoever owns a directory owns the one beside it, too, and root goes there twice."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    elsewhere.chmod(0o700)
    place = trees.link(tree) / name
    place.rename(tree.path / ".endolab-moved")
    place.symlink_to(elsewhere)
    (tree.path / "labels").chmod(0o777)
    with pytest.raises(NotADirectoryError, match=str(place)):
        trees.link(tree)
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_a_directory_that_is_read_is_not_followed(
    tree: Tree, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, {"secret": "root's"})
    real = directories.held

    def replaced(path: str | Path, within: int | None = None, make: bool = False) -> Any:
        if path == "final" and not make:
            (tree.path / "labels/final").rename(tree.path / ".endolab-moved")
            (tree.path / "labels/final").symlink_to(elsewhere)
        return real(path, within, make)

    monkeypatch.setattr(trees, "held", replaced)
    assert "labels/final/secret" not in read(trees.link(tree))


def test_what_is_written_once_is_not_copied(tree: Tree) -> None:
    linked = trees.link(tree)
    assert (linked / "a.png").samefile(tree.path / "a.png")
    assert not (linked / "index.json").samefile(tree.path / "index.json")


def test_what_goes_while_it_is_linked_is_no_fault(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path, **_: bool) -> None:
        raise FileNotFoundError(source)

    monkeypatch.setattr(os, "link", link)
    assert set(read(trees.link(tree))) == {"index.json"}


def test_directories_keep_their_modes_and_owners(tree: Tree) -> None:
    (tree.path / "labels").chmod(0o750)
    os.chown(tree.path / "labels", 1000, 1001)
    status = (trees.link(tree) / "labels").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o750, 1000, 1001)


def test_a_sum_is_taken_over_where_size_and_time_are_the_same(tree: Tree) -> None:
    found = trees.sums(trees.link(tree), "studies", {})
    assert set(found) == {"studies/a.png", "studies/index.json", "studies/labels/final/a.png", "studies/link"}
    known = {name: trees.Sum("known", each.bytes, each.changed) for name, each in found.items()}
    assert {each.sha256 for each in trees.sums(tree.path / trees.LINKED, "studies", known).values()} == {"known"}
    os.utime(tree.path / "a.png", (1, 1))
    assert trees.sums(tree.path / trees.LINKED, "studies", known)["studies/a.png"].sha256 == (
        found["studies/a.png"].sha256
    )


def test_what_is_written_in_place_after_all_is_seen(tree: Tree) -> None:
    linked = trees.link(tree)
    known = trees.sums(linked, "studies", {})
    (tree.path / "index.json").write_text("rewritten", encoding="utf-8")  # it was copied
    assert trees.changed(linked, "studies", known) == []
    (tree.path / "labels/final/a.png").write_text("drawn over", encoding="utf-8")
    assert trees.changed(linked, "studies", known) == ["studies/labels/final/a.png"]


def test_sums_are_read_as_they_were_written(tmp_path: Path) -> None:
    strange = os.fsdecode(b'a"\n\xff \xe2\x98\x83')
    found = {strange: trees.Sum("0", 1, 2)}
    trees.write_sums(tmp_path / "sums", found)
    assert trees.read_sums(tmp_path / "sums") == found
    (tmp_path / "sums").write_text('{"path": ', encoding="ascii")
    assert trees.read_sums(tmp_path / "sums") == trees.read_sums(tmp_path / "none") == {}


def test_a_staged_tree_takes_the_place_of_what_is_there(tree: Tree) -> None:
    write(tree.path / trees.STAGED, {"a.png": "old frame", "labels/final/z.png": "old label", "index.json": "old"})
    write(tree.path, {"b.png": "a frame of another day", trees.INDEX: "{}", "coco.json": "{}"})
    for _ in range(2):  # broken off and done again
        trees.swap_out(tree)
    assert read(tree.path / trees.REPLACED)["a.png"] == "frame"
    for _ in range(2):
        trees.swap_in(tree)
    assert {name: text for name, text in read(tree.path).items() if not name.startswith(trees.OURS)} == {
        "a.png": "old frame",
        "b.png": "a frame of another day",
        "coco.json": "{}",
        "index.json": "old",
        "labels/final/z.png": "old label",
    }


def test_elsewhere_nothing_foreign_stays(tmp_path: Path) -> None:
    write(tmp_path, {"key": "new", "other": "new", f"{trees.STAGED}/key": "old"})
    tree = Tree("cvat-keys", tmp_path, tmp_path)
    trees.swap_out(tree)
    trees.swap_in(tree)
    assert [path.name for path in tmp_path.iterdir() if path.name != trees.REPLACED] == ["key"]


@pytest.mark.parametrize("name", ["labels/elsewhere", "b.png"])
def test_a_link_that_leads_out_of_the_tree_is_named(
    tree: Tree, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    other = tmp_path_factory.mktemp("disk")
    (tree.path / name).symlink_to(other)
    with pytest.raises(Fault, match=f"/{name} is a link to {other}, and an archive would have the link alone"):
        trees.link(tree)


def test_a_tree_that_leads_out_of_what_its_container_sees_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"passwd": "root's"})
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "images").symlink_to(tmp_path / "elsewhere")
    tree = Tree("studies", tmp_path / "datasets" / "images", tmp_path / "datasets")
    for use in (trees.link, trees.swap_out, trees.swap_in):
        with pytest.raises(Fault, match=r"images leads to .*/elsewhere, and its container sees .*/datasets alone"):
            use(tree)
    assert read(tmp_path / "elsewhere") == {"passwd": "root's"}


def test_a_tree_may_be_a_link_to_another_place_that_its_container_sees(tmp_path: Path) -> None:
    write(tmp_path / "datasets", {"cholec80/frames/a.png": "frame"})
    (tmp_path / "datasets" / "images").symlink_to("cholec80/frames")
    linked = trees.link(Tree("studies", tmp_path / "datasets" / "images", tmp_path / "datasets"))
    assert read(linked) == {"a.png": "frame"}


def test_a_pipe_is_not_waited_for(tree: Tree) -> None:
    linked = trees.link(tree)
    os.mkfifo(linked / "labels" / "pipe")
    assert trees.sums(linked, "studies", {})["studies/labels/pipe"].bytes == 0


def test_what_somebody_adds_after_the_sums_were_taken_is_seen(tree: Tree) -> None:
    linked = trees.link(tree)
    known = trees.sums(linked, "studies", {})
    write(linked, {"labels/added.png": "added"})
    assert trees.changed(linked, "studies", known) == ["studies/labels/added.png"]


def test_a_link_that_leads_nowhere_is_kept(tree: Tree) -> None:
    (tree.path / "inside-the-container").symlink_to("/home/django/none")
    assert (trees.link(tree) / "inside-the-container").is_symlink()


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP])
def test_where_nothing_can_be_linked_it_is_copied(tree: Tree, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def link(source: Path, target: Path, **_: bool) -> None:
        raise OSError(number, "no links")

    monkeypatch.setattr(os, "link", link)
    linked = trees.link(tree)
    assert read(linked)["a.png"] == "frame"
    assert not (linked / "a.png").samefile(tree.path / "a.png")
    assert (linked / "link").is_symlink()


def test_a_full_disk_is_no_reason_to_copy(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path, **_: bool) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="full"):
        trees.link(tree)
