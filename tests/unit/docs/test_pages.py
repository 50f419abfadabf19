"""What the documentation tells people to type is there; that pages, links and pictures are, MkDocs itself says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# But for the change log, which names what was there once.
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")} - {ROOT / "CHANGELOG.md"})

# Where variables are, and metrics.
KNOWN = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (
        *(ROOT / "playbooks").rglob("*.yml"),
        *(ROOT / "roles").rglob("*.yml"),
        ROOT / "apps/endoscopy/endolab_loop/metrics.py",
    )
)
# What a variable's name begins with: a role, a playbook, or what all roles share.
NAMES = [path.stem for path in (*ROOT.glob("roles/*"), *ROOT.glob("playbooks/*.yml"))]
PREFIXES = tuple(f"{name}_" for name in [*NAMES, "endolab"])
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def unknown(markdown: str) -> list[str]:
    """The playbooks, targets of make and variables that a page's code names, and that are not there."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL))
    code = "\n".join([*blocks, *(span.replace("\n", " ") for span in spans)])
    playbooks = re.findall(r"ansible-playbook ([a-z][\w./-]*)|(?:^|\s)(playbooks/[\w./-]+\.yml)", code)
    playbooks_gone = [name for pair in playbooks for name in pair if name and not (ROOT / file_of(name)).is_file()]
    targets_gone = [name for name in re.findall(r"^make ([a-z][\w.-]*)", code, re.MULTILINE) if name not in TARGETS]
    settings = [name for name in re.findall(r"^(\w+)(?::|$)", code, re.MULTILINE) if name.startswith(PREFIXES)]
    variables = [*re.findall(r"-e (\w+)=", code), *settings]
    variables_gone = [name for name in variables if not re.search(rf"\b{name}\b", KNOWN)]
    return playbooks_gone + targets_gone + variables_gone


def file_of(playbook: str) -> str:
    """The file of a playbook, which the collection calls by a name."""
    return re.sub(r"^endolab\.active_learning\.(\w+)$", r"playbooks/\1.yml", playbook)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    assert unknown(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("markdown", "gone"),
    [
        ("`ansible-playbook playbooks/stauts.yml -i lab`", "playbooks/stauts.yml"),
        ("run `playbooks/stauts.yml`", "playbooks/stauts.yml"),
        ("`ansible-playbook endolab.active_learning.stauts`", "endolab.active_learning.stauts"),
        ("```\nansible-playbook sites.yml\n```\n", "sites.yml"),
        ("```\nmake demo\nmake dmeo  # the stack\n```\n", "dmeo"),
        ("then `make dmeo`", "dmeo"),
        ("`ansible-playbook\nsite.yml -i lab -e restore_form=latest`", "restore_form"),
        ("set `cvat_user` in the vault", "cvat_user"),
        ("with `monailabel_gpu: none`", "monailabel_gpu"),
        ("```\ncvat_user:\n  - {username: ann}\n```\n", "cvat_user"),
    ],
)
def test_what_is_not_there_is_found(markdown: str, gone: str) -> None:
    assert unknown(markdown) == [gone]


def test_the_tutorial_tells_people_to_type_something() -> None:
    tutorial = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^ansible-playbook ", tutorial, re.MULTILINE)) >= 5


REFERENCE = (ROOT / "docs/playbooks.md").read_text(encoding="utf-8")
DOCUMENTED = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", REFERENCE, re.MULTILINE))


def test_every_playbook_is_in_the_reference() -> None:
    listed = re.findall(r"^\| `([\w/]+\.yml)` \|", REFERENCE, re.MULTILINE)
    there = [f"playbooks/{path.name}" for path in ROOT.glob("playbooks/*.yml")]
    assert sorted([*listed, "playbooks/site.yml"]) == sorted([*there, "site.yml"])


def test_every_variable_of_a_playbook_is_in_the_reference() -> None:
    plays = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("playbooks/*.yml"))
    variables = set(re.findall(r"^    # .*\n    ([a-z]\w*): (?!>-)", plays, re.MULTILINE))
    for name in ("restore", "lock"):
        text = (ROOT / f"playbooks/group_vars/all/{name}.yml").read_text(encoding="utf-8")
        variables.update(re.findall(r"^([a-z]\w*):", text, re.MULTILINE))
    assert {"status_json", "teardown_data", "restore_damaged"} <= variables
    assert variables <= DOCUMENTED.keys()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_reference_says_a_variables_default(name: str) -> None:
    assert re.search(rf"\b{name}\b", KNOWN)
    literal = re.findall(rf"^ *{name}: ([^\s{{]+|\"\")$", KNOWN, re.MULTILINE)
    assert not literal or DOCUMENTED[name].strip("`") in literal
