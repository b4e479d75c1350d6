"""JSON in pieces is the same JSON, and no piece of it is long."""

import json
import threading

import pytest
from aamc_bandit.json_stream import EncodedJson, json_pieces, write_json_pieces
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk.errors import OutputError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def as_pairs(value, depth):
    """Return a value in which mappings so many deep are iterators of pairs."""
    return ((key, as_pairs(inner, depth - 1)) for key, inner in value.items()) if depth and isinstance(value, dict) else value


@given(plain, st.integers(0, 4))
def test_pieces_make_the_document(value, depth):
    assert json.loads("".join(json_pieces(as_pairs(value, depth)))) == value


def test_a_piece_is_one_value():
    pieces = list(json_pieces(as_pairs({"levels": {f"user {n}": {"wins": [n] * 10} for n in range(1000)}}, 2)))
    assert max(map(len, pieces)) < 80


def test_what_is_written_already_goes_in_as_it_is():
    assert "".join(json_pieces(iter([("a", EncodedJson('{"b": 1.50}'))]))) == '{"a": {"b": 1.50}}'


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "state.json"
    write_json_pieces(path, {"wins": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_pieces(path, iter([("wins", 2), ("losses", float("nan"))]))
    with pytest.raises(OutputError):
        write_json_pieces(path / "below", {"wins": 3})
    assert json.loads(path.read_text()) == {"wins": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_that_an_iterator_holds_is_let_go_when_writing_fails(tmp_path):
    lock = threading.Lock()

    def held():
        with lock:
            yield "wins", float("nan")
            yield "losses", 1

    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_pieces(tmp_path / "state.json", iter([("learned", held())]))
    assert not lock.locked()
