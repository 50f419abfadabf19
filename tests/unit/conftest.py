"""Lets tests import ansible_collections.endolab.active_learning from the checkout, as Ansible itself does.

Hypothesis's profile "long" (`--hypothesis-profile=long`) tries ten times as many examples.
"""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.loader import init_plugin_loader
from hypothesis import settings

init_plugin_loader([str(Path(__file__).resolve().parents[2] / "collections")])
settings.register_profile("long", max_examples=1000)
