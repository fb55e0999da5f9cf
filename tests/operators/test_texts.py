"""Texts by row: what is put in is there, and a snapshot, whole or in parts, is all of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.parts import EVERYTHING, Assembly, Changes, Sweep
from operators.state import pack, unpack
from operators.texts import BLOCK, Texts

PUTS = st.lists(st.tuples(st.integers(0, 3 * BLOCK), st.binary(max_size=9)), max_size=30)


def listed(texts):
    return [texts[row] for row in range(len(texts))]


def made(puts):
    texts, expected = Texts("t", bytes), {}
    for row, text in puts:
        texts[row] = text
        expected[row] = text
    return texts, [expected.get(row, b"") for row in range(max(expected, default=-1) + 1)]


@given(PUTS)
def test_each_row_has_the_text_that_was_put_last(puts):
    texts, expected = made(puts)

    assert listed(texts) == expected
    assert texts[len(texts)] == b""


@given(PUTS, PUTS)
def test_a_dump_is_a_copy_that_can_be_loaded(puts, later):
    texts, expected = made(puts)
    state = unpack(pack(texts.dump()))
    for row, text in later:
        texts[row] = text
    again = Texts("t", bytes)
    again.load(state)

    assert listed(again) == expected


@given(st.lists(PUTS, min_size=2, max_size=6))
def test_parts_with_what_changed_alone_are_all_of_it(rounds):
    texts, expected, changes, parts = Texts("t", bytes), {}, Changes(), []
    for number, puts in enumerate(rounds):
        for row, text in puts:
            texts[row] = text
            expected[row] = text
        parts.append(unpack(pack(changes.of(texts, Sweep(1, 1) if number else EVERYTHING))))
    assembly = Assembly(parts[-1])
    for part in parts:
        assembly.add(part)
    again = Texts("t", bytes)
    again.load(assembly.finish())

    assert listed(again) == [expected.get(row, b"") for row in range(max(expected, default=-1) + 1)]


def test_a_block_that_did_not_change_is_not_written_again():
    texts, changes = made([(0, b"a"), (BLOCK, b"b")])[0], Changes()
    changes.of(texts, EVERYTHING)
    texts[BLOCK] = b"c"

    assert list(changes.of(texts, Sweep(1, 1))) == ["t.1"]


@pytest.mark.parametrize(
    "change", [{"t.rows": None}, {"t.rows": 2}, {"t.0": np.zeros(3)}, {"t.0": np.zeros(1, np.uint8)}, {"t.rows": 300}]
)
def test_what_cannot_be_texts_is_refused(change):
    state = made([(0, b"a")])[0].dump() | change

    with pytest.raises(ValueError, match="expected"):
        Texts("t", bytes).load(state)
