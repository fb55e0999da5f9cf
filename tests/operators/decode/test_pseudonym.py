"""Pseudonyms are keyed, versioned, apart by kind, and worked out the same with any cache."""

import random
import re
import struct
import sys

import pytest

from operators.decode.pseudonym import KINDS, LONGEST_REMEMBERED, Memo, Pseudonymizer

KEY = bytes(range(32))


def blake2b_of_rfc_7693(data: bytes, key: bytes, person: bytes, size: int) -> bytes:
    """BLAKE2b written from RFC 7693, chapters 2 and 3, for keys and short messages; slow, and not hashlib's."""
    word = 2**64 - 1
    iv = [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ]  # fmt: skip
    sigma = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ]  # fmt: skip
    parameters = struct.pack("<BBBBIQBB14x16s16s", size, len(key), 1, 1, 0, 0, 0, 0, b"", person)
    state = [a ^ b for a, b in zip(iv, struct.unpack("<8Q", parameters), strict=True)]
    padded = key.ljust(128, b"\0") + data if key else data
    total = len(padded)
    blocks = [padded[at : at + 128] for at in range(0, max(total, 1), 128)]
    done = 0
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        done = total if last else done + 128
        m = struct.unpack("<16Q", block.ljust(128, b"\0"))
        v = [*state, *iv]
        v[12] ^= done
        if last:
            v[14] ^= word
        for turn in range(12):
            s = sigma[turn % 10]
            quarters = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
            quarters += [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
            for i, (a, b, c, d) in enumerate(quarters):
                for x, (r1, r2) in ((m[s[2 * i]], (32, 24)), (m[s[2 * i + 1]], (16, 63))):
                    v[a] = (v[a] + v[b] + x) & word
                    v[d] ^= v[a]
                    v[d] = (v[d] >> r1 | v[d] << (64 - r1)) & word
                    v[c] = (v[c] + v[d]) & word
                    v[b] ^= v[c]
                    v[b] = (v[b] >> r2 | v[b] << (64 - r2)) & word
        state = [state[i] ^ v[i] ^ v[i + 8] for i in range(8)]
    return struct.pack("<8Q", *state)[:size]


def test_the_reference_gives_the_digest_of_rfc_7693_appendix_a():
    digest = blake2b_of_rfc_7693(b"abc", b"", b"", 64)

    assert digest.hex().startswith("ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("identifier", ["alice", "203.0.113.9", "Ålice 用户 😀", "\0", "x" * 1024])
def test_a_pseudonym_is_keyed_blake2b_with_its_kind_as_personalisation(kind, identifier):
    expected = blake2b_of_rfc_7693(identifier.encode(), KEY, kind.encode(), 16).hex()

    assert Pseudonymizer(KEY, version=7).pseudonym(kind, identifier) == f"h7:{expected}"


def test_the_same_text_has_another_pseudonym_for_each_kind_and_key():
    found = {Pseudonymizer(key).pseudonym(kind, "10.0.0.1") for kind in KINDS for key in (KEY, KEY[::-1], KEY[:16])}

    assert len(found) == 3 * len(KINDS)


def test_the_bits_of_a_user_are_those_of_the_pseudonym_read_back():
    pseudonymizer = Pseudonymizer(KEY)
    pseudonym, bits = pseudonymizer.user("alice")

    assert pseudonymizer.user_as_given(pseudonym) == (pseudonym, bits)
    assert pseudonymizer.attribute("ip")("10.0.0.1") == pseudonymizer.attribute_as_given(
        pseudonymizer.pseudonym("ip", "10.0.0.1")
    )


def test_bits_fit_64_and_are_never_0():
    pseudonymizer = Pseudonymizer(KEY)

    assert all(0 < pseudonymizer.user(str(i))[1] < 2**64 for i in range(1000))


def test_an_absent_or_empty_attribute_has_no_bits():
    assert [Pseudonymizer(KEY).attribute("ip")(value) for value in (None, "")] == [0, 0]
    assert [Pseudonymizer(KEY).attribute_as_given(value) for value in (None, "")] == [0, 0]


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_key_of_a_wrong_length_is_refused_without_being_shown(size):
    with pytest.raises(ValueError, match=f"expected a pseudonym key of 16 to 64 bytes, got {size}") as caught:
        Pseudonymizer(b"s" * size)

    assert "sss" not in str(caught.value)


def test_a_key_version_below_1_is_refused():
    with pytest.raises(ValueError, match="expected a key version >= 1, got 0"):
        Pseudonymizer(KEY, 0)


def test_the_fingerprint_changes_with_key_and_version_and_the_text_form_shows_no_key():
    makers = [Pseudonymizer(KEY), Pseudonymizer(KEY, 2), Pseudonymizer(KEY[::-1])]

    assert len({maker.fingerprint for maker in makers}) == 3
    assert re.fullmatch("[0-9a-f]{16}", makers[0].fingerprint)
    assert repr(makers[0]) == "Pseudonymizer(version=1)"


@pytest.mark.parametrize("entries", [2, 3, 10, 1000])
def test_results_do_not_depend_on_how_much_is_remembered(entries):
    rng = random.Random(5)
    memo = Memo(Pseudonymizer(KEY).user, entries)
    batches = [[f"u{int(40 * rng.random() ** 2)}" for _ in range(rng.randrange(20))] for _ in range(100)]

    assert [memo(batch) for batch in batches] == [
        [Pseudonymizer(KEY).user(user) for user in batch] for batch in batches
    ]


def test_no_more_is_remembered_than_allowed_under_a_flood_of_new_values():
    memo = Memo(len, 100)
    for start in range(0, 100_000, 500):
        memo([str(i) for i in range(start, start + 500)])

        assert len(memo) <= 100


def test_long_values_are_answered_and_not_remembered():
    memo = Memo(len, 100)

    assert memo(["x" * LONGEST_REMEMBERED, "y" * (LONGEST_REMEMBERED + 1)]) == [128, 129]
    assert len(memo) == 1


def test_a_value_asked_for_in_every_generation_is_worked_out_once():
    worked_out = []
    memo = Memo(lambda value: worked_out.append(value) or len(value), 10)
    for i in range(100):
        memo(["regular", f"new{i}"])

    assert worked_out.count("regular") == 1


def test_look_ups_and_misses_are_counted():
    memo = Memo(len, 10)
    memo(["a", "b", "a"])
    memo(["a", "c"])

    # 5 look-ups; a, b and c once each had to be worked out.
    assert (memo.asked, memo.missed) == (5, 3)


def test_the_cost_of_one_remembered_user_is_a_few_hundred_bytes():
    entry = Pseudonymizer(KEY).user("0198f2b4-7f53-7c21-9b1e-0f6c2d0a4e11")

    # The key, the tuple, the pseudonym and the integer; a dict slot adds about 100.
    assert sum(map(sys.getsizeof, ("x" * 36, entry, *entry))) < 350
