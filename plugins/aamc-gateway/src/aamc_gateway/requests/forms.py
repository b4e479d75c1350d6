"""Forms that pass through: the model and the user that they name, and their files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from aamc_gateway.access.callers import Refused
from aamc_gateway.requests.body_checks import check_spelling

_BOUNDARY = re.compile(r"""boundary="?([\w'()+./:=?-]+)""", re.ASCII | re.IGNORECASE)
_HEADER = re.compile(rb"[\w-]+:[^\r\n]*")
_DISPOSITION = re.compile(
    rb'content-disposition: *form-data; *name="([\w\[\].-]+)"(; *filename="[^"\r\n]*")?(; *filename\*=[\w\'%.-]+)?', re.IGNORECASE
)
"""A part's name in the only spelling that every server reads alike, and the name of its file."""
_MAX_PARTS = 1000
_MAX_HEAD = 8000
"""Maximum size in bytes of a part's header lines."""


def is_form(content_type: str) -> bool:
    """Return whether a content type is that of a form, which must be multipart."""
    return content_type.strip().lower().startswith(("multipart/", "application/x-www-form-urlencoded"))


class Form(NamedTuple):
    """The fields and files of a form.

    Attributes:
        model: The position of the value of its field ``model``; None without one.
        user: The position of the value of its field ``user``; None without one.
        n: The position of the value of its field ``n``; None without one.
        files: The sizes of its files in bytes.
        names: The names of its fields and files, without the brackets of lists.
        content_type: Its content type in the only spelling that every server reads alike; ``""`` without a form.
    """

    model: slice | None = None
    user: slice | None = None
    n: slice | None = None
    files: tuple[int, ...] = ()
    names: frozenset[str] = frozenset()
    content_type: str = ""


def read_form(raw: bytes, content_type: str) -> Form:
    """Return the fields and files of a form.

    Raises:
        Refused: It has too many parts; or a server may read it differently: one of these fields is there twice, or a part has an unusual spelling.
    """
    found: dict[str, slice] = {}
    files, names = [], set()
    boundaries = _BOUNDARY.findall(content_type)
    if len(boundaries) != 1:
        raise _unusual()
    for head, value in _parts(raw, boundaries[0]):
        matches = [match for line in head if (match := _DISPOSITION.fullmatch(line))]
        if len(matches) != 1 or sum(line.lower().startswith(b"content-disposition") for line in head) != 1:
            raise _unusual()
        name, is_file = matches[0][1].decode("ascii"), bool(matches[0][2])
        check_spelling({name: value})
        names.add(name.partition("[")[0])
        if name in ("model", "user", "n"):
            if name in found or is_file:
                raise _unusual()
            found[name] = value
        elif is_file:
            files.append(value.stop - value.start)
    return Form(**found, files=tuple(files), names=frozenset(names), content_type=f'multipart/form-data; boundary="{boundaries[0]}"')


def _parts(raw: bytes, boundary: str) -> Iterator[tuple[list[bytes], slice]]:
    """Yield the header lines of each part, and the position of its value."""
    mark = b"--" + boundary.encode()
    if not raw.startswith(mark):
        raise _unusual()
    begin = len(mark)
    for count, found in enumerate(re.compile(re.escape(mark)).finditer(raw, begin)):
        if count == _MAX_PARTS:
            raise Refused(f"the form has more than {_MAX_PARTS:,} parts; send fewer", status=413)
        end = found.start()
        head_end = raw.find(b"\r\n\r\n", begin, min(begin + _MAX_HEAD, end))
        if not (raw[begin : begin + 2] == b"\r\n" == raw[end - 2 : end] and begin < head_end <= end - 6):
            raise _unusual()
        head = raw[begin + 2 : head_end].split(b"\r\n")
        if not all(map(_HEADER.fullmatch, head)):
            raise _unusual()
        yield head, slice(head_end + 4, end - 2)
        begin = found.end()
    if raw[begin:].strip() != b"--":
        raise _unusual()


def _unusual() -> Refused:
    example = 'Content-Disposition: form-data; name="model"'
    return Refused(
        f"a form must be multipart, with the fields model, user and n at most once each and not as files, and each part named as: {example}"
    )
