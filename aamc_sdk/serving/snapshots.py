"""What a part has learned, as bytes: the files that it saves, in one archive that is the same for the same files."""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from pathlib import Path

from aamc_sdk.config import unstructure
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Part
from aamc_sdk.plugins import version_of
from aamc_sdk.storage import to_json

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive: the earliest that the format can say."""


def state_of(part: Part) -> bytes:
    """Return what :meth:`Part.save` writes."""
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(packed, "w") as archive:
        folder = Path(name)
        part.save(folder)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.writestr(zipfile.ZipInfo(file.relative_to(folder).as_posix(), _LONG_AGO), file.read_bytes())
    return packed.getvalue()


def restore(part: Part, state: bytes) -> None:
    """Give a part back what :func:`state_of` returned; whatever it has learned since is gone.

    Raises:
        CheckpointError: The state is damaged, or the part cannot read it.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(io.BytesIO(state)) as archive:
                archive.extractall(folder)
        except zipfile.BadZipFile as error:
            raise CheckpointError(f"the state of {type(part).__name__} is damaged ({error})") from error
        part.load(Path(folder))


def state_name(part: Part, state: bytes) -> str:
    """Return what names a part in a state: its class and that one's version, its configuration and the state itself."""
    described = to_json([type(part).__module__, type(part).__qualname__, version_of(type(part)), unstructure(part.config)])
    return hashlib.sha256(described.encode() + state).hexdigest()
