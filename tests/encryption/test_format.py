"""The format of encrypted values and of their sealed keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw_transports import encryption
from resultsfw_transports.encryption import (
    CHUNK,
    TAG,
    EncryptionError,
    data_key_of,
    decrypted,
    encrypted,
    encrypted_size,
    parse,
    value_key,
    value_size,
)

KEY, OTHER = b"k" * 32, b"o" * 32
SMALL = 8
"""Bytes of a chunk, for tests of many chunks."""


def closed(value, key=KEY):
    return b"".join(encrypted(key, [value]))


def opened(data, key=KEY):
    return b"".join(decrypted(key, [data]))


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 50))
def test_what_is_encrypted_is_decrypted_in_pieces_of_any_size(pieces, size):
    value = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encryption, "CHUNK", SMALL)
        data = b"".join(encrypted(KEY, pieces))
        assert len(data) == encrypted_size(len(value))
        assert value_size(len(data)) == len(value)
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        assert b"".join(decrypted(KEY, cut)) == value


@given(st.integers(0, 2**50))
def test_the_size_of_a_value_follows_from_that_of_what_is_stored(size):
    assert value_size(encrypted_size(size)) == size
    assert encrypted_size(size) <= size + size // 16 + 4096  # what the core allows


@given(st.binary(max_size=60), st.data())
def test_whatever_is_changed_is_noticed(value, data):
    """Guarantee 3: bits flipped, chunks left out, doubled, swapped, the end cut off, anything appended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encryption, "CHUNK", SMALL)
        genuine = closed(value)
        start = data.draw(st.integers(0, len(genuine)))
        end = data.draw(st.integers(start, len(genuine)))
        chunks = [genuine[at : at + SMALL + TAG] for at in range(0, len(genuine), SMALL + TAG)]
        piece = data.draw(st.binary(max_size=30) | st.sampled_from(chunks))
        changed = genuine[:start] + piece + genuine[end:]
        shuffled = b"".join(data.draw(st.permutations(chunks)))
        for other in (changed, shuffled):
            if other != genuine:
                with pytest.raises(EncryptionError, match="changed or cut"):
                    opened(other)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_a_value_of_a_chunk_more_or_less(size):
    value = bytes(range(256)) * (size // 256 + 1)
    data = closed(value[:size])
    assert opened(data) == value[:size]
    for cut in (0, CHUNK + TAG, len(data) - 1):
        if cut >= len(data):
            continue
        with pytest.raises(EncryptionError):
            opened(data[:cut])


def test_the_key_of_one_value_opens_no_other():
    keys = {
        value_key(KEY, b"a" * 16, "ns/uid"),
        value_key(KEY, b"b" * 16, "ns/uid"),
        value_key(KEY, b"a" * 16, "ns/other"),
        value_key(OTHER, b"a" * 16, "ns/uid"),
    }
    assert len(keys) == 4
    with pytest.raises(EncryptionError, match="another key"):
        opened(closed(b"value"), OTHER)


@given(st.text(max_size=80) | st.from_regex(r"v1[.][a-z]*[.][A-Za-z_=-]*[.][A-Za-z_=-]*", fullmatch=True))
def test_what_anybody_wrote_in_place_of_a_sealed_key_is_refused(text):
    try:
        _, _, salt = parse(text)
    except EncryptionError:
        return
    assert len(salt) == 16


@given(st.binary(max_size=80))
def test_a_data_key_of_another_owner_is_refused(unsealed):
    with pytest.raises(EncryptionError, match="not one of ns/uid"):
        data_key_of(unsealed, "ns/uid")
