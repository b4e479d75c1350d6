"""The state of a component as bytes: the files that it saves, in one archive."""

from __future__ import annotations

import gc
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aamc_sdk.config import changed_options, unstructure
from aamc_sdk.errors import CheckpointError, PluginError
from aamc_sdk.interfaces import BaseComponent, OnlineRouter, Router
from aamc_sdk.messages import check_known, component_errors
from aamc_sdk.storage import to_json

_FILE_DATE = (1980, 1, 1, 0, 0, 0)
"""Date of every file in an archive, the earliest that the format allows; the true date would change the bytes."""


def state_of(component: BaseComponent) -> bytes:
    """Return the files that :meth:`BaseComponent.save` writes, as a ZIP archive.

    Raises:
        OSError: The folder of temporary files cannot be written, or the disk is full.
        PluginError: The component raised an error that is not an AamcError.
    """
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(packed, "w") as archive:
        folder = Path(name)
        with component_errors(f"{component.message_name} cannot be saved", passes=OSError):
            component.save(folder)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.writestr(zipfile.ZipInfo(file.relative_to(folder).as_posix(), _FILE_DATE), file.read_bytes())
    return packed.getvalue()


def restore(component: BaseComponent, state: bytes) -> None:
    """Load a state of :func:`state_of` into a component; anything learned since is lost.

    Raises:
        CheckpointError: The state is damaged, or the component cannot read it.
        PluginError: The component raised an error that is not an AamcError.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(io.BytesIO(state)) as archive:
                archive.extractall(folder)
        except zipfile.BadZipFile as error:
            raise CheckpointError(f"the state of {component.message_name} is damaged ({error})") from error
        with without_collections(), component_errors(f"{component.message_name} cannot be loaded"):
            component.load(Path(folder))


@contextmanager
def without_collections() -> Iterator[None]:
    """Pause garbage collection: a large state makes a million objects that stay, and collecting would take longer than loading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def state_name(router: Router, origin: bytes) -> str:
    """Return a digest of a router's class, state schema and options that change what it learns, and of its initial state or an identifier of that.

    Options at their defaults are left out, so that a release that adds an option finds the states of the one before.

    Raises:
        PluginError: The router has no option that it lists.
    """
    options, schema = changed_options(router.config), None
    if isinstance(router, OnlineRouter):
        schema = router.state_schema
        if router.state_options is not None:
            unknown = f"{router.message_name}: state_options names the unknown option"
            check_known(router.state_options, unstructure(router.config), unknown, PluginError)
            options = {name: value for name, value in options.items() if name in router.state_options}
    described = to_json([type(router).__module__, type(router).__qualname__, schema, sorted(options.items())])
    return hashlib.sha256(described.encode() + origin).hexdigest()
