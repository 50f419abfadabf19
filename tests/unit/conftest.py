"""What all unit tests share."""

from __future__ import annotations

import gc
from types import CodeType
from typing import Any

from ansible._internal._templating._jinja_bits import AnsibleEnvironment, _TemplateCompileContext
from hypothesis import settings

# A busy machine is no fault of an example's. `--hypothesis-profile=long` tries ten times as many.
settings.register_profile("default", settings.get_profile("default"), deadline=None)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("default")

COMPILED: dict[tuple[Any, ...], CodeType] = {}


def compile_once(environment: Any, source: Any, *others: Any, **options: Any) -> Any:
    """Jinja's `compile`, which remembers: for Ansible a template is new each time, and that is half of what tests cost.

    What comes of a text depends on nothing but the lexer, of which there is one for each syntax, and on backslashes.
    """
    if others or options or not isinstance(source, str):
        return super(AnsibleEnvironment, environment).compile(source, *others, **options)
    context = _TemplateCompileContext.current(optional=True)
    key = (source, environment.lexer, context and context.escape_backslashes)
    if key not in COMPILED:
        COMPILED[key] = super(AnsibleEnvironment, environment).compile(source)
    return COMPILED[key]


AnsibleEnvironment.compile = compile_once


def pytest_collection_finish() -> None:
    """Spares the collector what stays until the end, which is most of what there is: modules, and the tests."""
    gc.freeze()
