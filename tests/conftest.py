"""Lets tests import ansible_collections.endolab.active_learning from the checkout, as Ansible itself does."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader([str(Path(__file__).resolve().parents[1] / "collections")])
