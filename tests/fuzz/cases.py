"""Untrusted input: values, mutations of valid documents and of valid bytes; and the required result."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from aasp.errors import AaspError

_MAX_LINE = 20_000

numbers = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([2**31 - 1, 2**31, 2**53, 2**63, -(2**63), 10**9, 10**30, 16_384, 65_536]),
    st.floats(),
    st.sampled_from([1e308, -0.0, 1e-320, 0.5]),
)
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "none", "aape", "conv", "os:system", "json:loads", "../../x", "\0", "a" * 100_000, "1e999"]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """A JSON document with some values changed, missing or added."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        node, places = changed, []
        while isinstance(node, dict | list) and node:
            key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            places.append((node, key))
            node = node[key]
        if not places:
            return draw(values)
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.integers(0, 4)):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[draw(texts)] = draw(values)
            case _:
                parent[key] = draw(values)
    return changed


@st.composite
def spoilt(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some changed, missing or doubled."""
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place, count = draw(st.integers(0, len(made))), draw(st.integers(1, 16))
        match draw(st.integers(0, 3)):
            case 0:
                made[place : place + count] = draw(st.binary(min_size=count, max_size=count))
            case 1:
                del made[place : place + draw(st.sampled_from([1, count, 10**9]))]
            case 2:
                made[place:place] = made[place : place + count]
            case 3:
                made[place : place + count] = draw(st.sampled_from([b"\0", b"\xff", b"\x7f"])) * count
    return bytes(made)


def documents(document: Any) -> st.SearchStrategy[bytes]:
    """A document's file: mutated values, mutated bytes, or nested very deeply."""
    text = json.dumps(document).encode()
    return st.one_of(
        mutated(document).map(lambda value: json.dumps(value).encode()),
        mutated(document).map(lambda value: json.dumps(value).encode()),
        spoilt(text),
        st.sampled_from([b"", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5_000, b"\xff\xfe{}", b'"\\ud800"']),
    )


def right_or_one_line(call: Callable[[], Any]) -> Any:
    """What a call returns; None where it refuses, which it does in one line."""
    try:
        return call()
    except AaspError as error:
        message = str(error)
        assert message and len(message) <= _MAX_LINE, message[:100]
        assert message.replace("\t", " ").isprintable(), repr(message)[:300]
        return None
