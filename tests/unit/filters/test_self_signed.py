"""Of a chain that may be trusted which its owner vouches for."""

from __future__ import annotations

import pytest
from ansible_collections.endolab.active_learning.plugins.filter.self_signed import self_signed

from tests.certificates import certificate, issued


def test_what_somebody_else_has_issued_is_left_out() -> None:
    root, leaf = certificate("cvat.example.org"), issued("cvat.example.org")
    assert self_signed(leaf) == ""
    assert self_signed(leaf + root) == self_signed(root) == root


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="PEM"):
        self_signed("nothing")
