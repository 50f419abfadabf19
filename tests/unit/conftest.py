"""Hypothesis's profile "long" (`--hypothesis-profile=long`) tries ten times as many examples.

None has a deadline: a busy machine is no fault of an example's.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("default", settings.get_profile("default"), deadline=None)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("default")
