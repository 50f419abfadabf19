"""The filter yaml_values: other values in a YAML text that somebody has written by hand."""

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.endolab.active_learning.plugins.filter.yaml_values import yaml_values
from hypothesis import given
from hypothesis import strategies as st

TEXT = """\
# The lab's, ask Ada.
first: old # and why
second: >-
  lines
  of it
third:
fourth: {nested: 'first: old'}

"fifth": "quoted"
sixth: !vault |
  $ANSIBLE_VAULT;1.1;AES256
  6162
seventh: |
  last
"""


def test_everything_else_stays_as_it_is() -> None:
    changed = yaml_values(TEXT, {"first": "new", "second": "2", "third": "3", "fifth": "5", "sixth": "6"})
    assert changed == TEXT.replace("first: old #", 'first: "new" #').replace("third:", 'third: "3"').replace(
        '"quoted"', '"5"'
    ).replace(">-\n  lines\n  of it\n", '"2"\n').replace("!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n", '"6"\n')


@given(st.dictionaries(st.sampled_from(["first", "second", "third", "fifth", "sixth", "seventh"]), st.text()))
def test_the_new_values_are_read_again(values: dict[str, str]) -> None:
    assert values.items() <= yaml.safe_load(yaml_values(TEXT.replace("!vault ", ""), values)).items()


@pytest.mark.parametrize("text", ["", "[]", "just a text", "other: 1"])
def test_a_key_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="there is no key first"):
        yaml_values(text, {"first": "new"})


def test_what_is_no_yaml_is_refused_without_being_shown() -> None:
    with pytest.raises(AnsibleFilterError, match="no YAML from line 2 on") as refusal:
        yaml_values("first: 1\nsecret: }", {"first": "new"})
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("text", ["first: &all old\nsecond: *all\n", "second: &all old\nfirst: *all\n"])
def test_values_that_others_refer_to_are_refused(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="without anchors"):
        yaml_values(text, {"first": "new"})
