"""The comparison notices every way in which a reply can be wrong, so that the replay can fail."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.stand_ins.recording import BYTES, DATE, OF_THE_MOMENT, TEXT_ONLY, Exchange, differences, recorded

EXCHANGES = list(recorded())


def as_live(value: Any) -> Any:
    """A recorded value as a server would send it again: bytes are bytes, and dates are others."""
    if isinstance(value, dict):
        return {key: as_live(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_live(item) for item in value]
    if isinstance(value, str) and BYTES.fullmatch(value):
        return b"content"
    return "2030-01-02T03:04:05.678901Z" if isinstance(value, str) and DATE.fullmatch(value) else value


def spoilt(value: Any, key: str = "") -> Iterator[Any]:
    """Copies of a body, each wrong in one place: a key or item too few or too many, another value or type."""
    if isinstance(value, dict):
        yield {**value, "unexpected": None}
        for name in value:
            yield {other: item for other, item in value.items() if other != name}
            for item in spoilt(value[name], name):
                yield {**value, name: item}
    elif isinstance(value, list):
        yield [*value, None]
        for index, item in enumerate(value):
            for other in spoilt(item, key):
                yield [*value[:index], other, *value[index + 1 :]]
    elif isinstance(value, str) and (DATE.fullmatch(value) or key in TEXT_ONLY):
        yield from (None, "" if value else "no more")
    elif isinstance(value, bool) or value is None or isinstance(value, bytes):
        yield f"not {value!r}"
    elif isinstance(value, (int, float)):
        yield from (value + 1, float(value) if isinstance(value, int) else int(value), str(value))
    else:
        yield f"{value} "


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_the_recorded_reply_is_accepted(exchange: Exchange) -> None:
    assert differences(exchange, replace(exchange.reply, body=as_live(exchange.reply.body))) == []


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_another_reply_is_refused(exchange: Exchange) -> None:
    good = replace(exchange.reply, body=as_live(exchange.reply.body))
    assert differences(exchange, replace(good, status=good.status + 1))
    for name in good.headers:
        without = {key: value for key, value in good.headers.items() if key != name}
        assert differences(exchange, replace(good, headers=without))
        assert differences(exchange, replace(good, headers={**good.headers, name: "other"}))
    body = copy.deepcopy(good.body)
    if exchange.unfinished:
        body = {key: value for key, value in body.items() if key not in OF_THE_MOMENT}
    for wrong in spoilt(body):
        assert differences(exchange, replace(good, body=wrong)), wrong


def test_all_recordings_are_read() -> None:
    assert len(EXCHANGES) == 186
