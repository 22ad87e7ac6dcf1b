"""The canonical form, judged by an independent implementation of RFC 8785."""

import json
from enum import StrEnum
from json import JSONEncoder
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from workflows.domain import canonical as module
from workflows.domain.canonical import DEPTH_MAX, INTEGER_MAX, canonical

INTEGERS = st.integers(-INTEGER_MAX, INTEGER_MAX)
KEYS = st.text(st.characters(max_codepoint=127))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(VALUES)
def test_agrees_with_rfc_8785(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(VALUES)
def test_there_and_back(value: Any) -> None:
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize(
    "code", [*range(0x21), 0x22, 0x2F, 0x5C, 0x7F, 0x80, 0x9F, 0x2028, 0x2029, 0xD7FF, 0xE000, 0xFEFF, 0xFFFF, 0x10000, 0x10FFFF]
)
def test_every_odd_character(code: int) -> None:
    value = {"text": f"a{chr(code)}b"}
    assert canonical(value) == rfc8785.dumps(value)


def test_keys_in_ascii_order_without_spaces() -> None:
    assert canonical({"b": [1, 2], "a": True, "B": None, "": "é"}) == '{"":"é","B":null,"a":true,"b":[1,2]}'.encode()


def test_words_and_tuples_are_texts_and_lists() -> None:
    class Word(StrEnum):
        one = "one"

    assert canonical((Word.one, {Word.one: Word.one})) == b'["one",{"one":"one"}]'


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        1.5,
        float("nan"),
        INTEGER_MAX + 1,
        -INTEGER_MAX - 1,
        b"bytes",
        {1: "number for a key"},
        {None: "nothing for a key"},
        {"é": "a key beyond ASCII"},
        {"a": {"b": [1.0]}},
        {1, 2},
        object(),
        "\ud800",
        {"a": "\udfff"},
    ],
    ids=lambda value: "object()" if type(value) is object else repr(value),  # an address would differ in each process
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(value)


def test_depth_has_a_limit() -> None:
    value: list[Any] = []
    for _ in range(DEPTH_MAX - 1):
        value = [value]
    assert canonical(value) == b"[" * DEPTH_MAX + b"]" * DEPTH_MAX
    with pytest.raises(ValueError, match="deep"):
        canonical([value])


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="deep"):
        canonical(value)


def test_the_encoder_built_once_is_the_public_one() -> None:
    public = JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
    value = {"b": [1, "\u0000\u007f\u2028😀", None], "a": {"d": False, "c": '\\"/'}}
    assert module.canonical_unchecked(value) == public(value).encode()
