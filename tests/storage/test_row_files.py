"""Files of rows: text, JSON lines and CSV, read lazily, with the line of every error."""

import csv
import gzip

import pytest

from aamc_sdk.errors import DataError
from aamc_sdk.storage import csv_rows, json_lines, parse_json, text_lines, unique_keys

READERS = [text_lines, json_lines, csv_rows]


def written(folder, content):
    file = folder / "rows"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_lines_have_their_numbers_whatever_ends_them_and_a_byte_order_mark_is_left_out(tmp_path):
    file = written(tmp_path, "\ufeffa\x0b\u2028b\r\nc\rd\n\ne")
    assert list(text_lines(file)) == [(1, "a\x0b\u2028b\r\n"), (2, "c\r"), (3, "d\n"), (4, "\n"), (5, "e")]


def test_json_lines_have_their_numbers_and_empty_ones_are_skipped(tmp_path):
    file = written(tmp_path, '\ufeff{"a": "\u2028"}\r\n \n[1, NaN]')
    (first, row), (third, (one, _)) = json_lines(file)
    assert (first, row, third, one) == (1, {"a": "\u2028"}, 3, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": ', r"rows, line 2 is not valid JSON \(.*\); the file may be cut off there"),
        ("[" * 100_000, "rows, line 2 is not valid JSON"),
        ('{"b": {"a": 1, "a": 2}}', r"rows, line 2: key 'a' occurs twice in one object; give it once"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, line, message):
    lines = json_lines(written(tmp_path, f"1\n{line}\n"))
    assert next(lines) == (1, 1)
    with pytest.raises(DataError, match=message):
        next(lines)


def test_a_json_document_is_named_in_its_errors():
    assert parse_json('{"a": [1]}', "the answers") == {"a": [1]}
    with pytest.raises(DataError, match=r"^the answers is not valid JSON"):
        parse_json("{", "the answers")
    with pytest.raises(DataError, match=r"^key 'a' occurs twice"):
        unique_keys([("a", 1), ("a", 1)])


def test_csv_rows_have_the_numbers_of_their_last_lines_and_none_for_missing_fields(tmp_path):
    file = written(tmp_path, '\ufefftext,label\r\n"a, ""b""\r\nc",1\r\n\r\nd\r\n')
    assert list(csv_rows(file)) == [(3, {"text": 'a, "b"\r\nc', "label": "1"}), (5, {"text": "d", "label": None})]
    assert list(csv_rows(written(tmp_path, "a\tb\r1\t2,3\r"), delimiter="\t")) == [(2, {"a": "1", "b": "2,3"})]
    assert list(csv_rows(written(tmp_path, ""))) == []
    assert list(csv_rows(written(tmp_path, "\r\n\na,b\n1,2\n"))) == [(4, {"a": "1", "b": "2"})]
    assert list(csv_rows(written(tmp_path, "\n\n"))) == []


@pytest.mark.parametrize("read", READERS)
def test_a_compressed_file_is_named_as_such(tmp_path, read):
    file = tmp_path / "rows.gz"
    file.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(DataError, match=r"rows\.gz is compressed; decompress it first: gunzip --keep .*rows\.gz"):
        list(read(file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3,4,5\n", r"rows, line 3 has more fields than the header; quote texts that hold the separator"),
        ('a,b\n1,2\n"3"4,5\n', r"rows, line 3 is not valid CSV: "),
        ('a,b\n1,2\n"3,4\n', r"rows, line 3 is not valid CSV: unexpected end of data"),
        ("a,b\n1,2\n" + "3" * 200_000 + ",4\n", r"rows, line 3 is not valid CSV: field larger than"),
    ],
)
def test_a_bad_csv_row_is_named(tmp_path, content, message):
    rows = csv_rows(written(tmp_path, content))
    assert next(rows) == (2, {"a": "1", "b": "2"})
    with pytest.raises(DataError, match=message):
        next(rows)


def test_long_fields_are_read_where_they_are_allowed_and_only_there(tmp_path):
    limit, text = csv.field_size_limit(), "x" * 200_000
    rows = csv_rows(written(tmp_path, f"a\n{text}\n{text}\n"), max_field=1_000_000)
    assert next(rows) == (2, {"a": text})
    assert csv.field_size_limit() == limit  # also while the rest waits
    with pytest.raises(DataError, match="line 2 is not valid CSV: field larger than field limit"):
        next(csv_rows(tmp_path / "rows", max_field=1000))
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("read", READERS)
def test_a_line_in_another_encoding_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"rows, line 2 is not UTF-8 \(invalid continuation byte at byte 4\); give .* in UTF-8"):
        list(read(written(tmp_path, b"1\r\n" + "Caf\u00e9?\n".encode("latin-1"))))


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_cannot_be_read_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"cannot read .*missing: No such file or directory; give .* in UTF-8"):
        list(read(tmp_path / "missing"))


@pytest.mark.parametrize("read", READERS)
def test_a_file_is_read_as_far_as_its_rows_are_asked_for(tmp_path, read):
    rows = read(written(tmp_path, b"1\n2\n\xff\n"))
    assert next(rows)


def test_a_column_that_a_csv_file_has_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"rows has more than one column 'prompt'; give each a unique name"):
        list(csv_rows(written(tmp_path, "prompt,prompt,answer\nA,B,1\n")))
