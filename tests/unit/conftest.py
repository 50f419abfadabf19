"""Hypothesis's profile "long" (`--hypothesis-profile=long`) tries ten times as many examples."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("long", max_examples=1000)
