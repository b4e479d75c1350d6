"""Finding the texts of questions again, which a run's folder names only by their hash."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from aamc_experiments.run_folder import RunFolder
from aamc_experiments.setup import dataset_readers

from aamc_sdk.errors import AamcError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import bare_services
from aamc_sdk.types import Dataset, text_hash


def find_texts(run: RunFolder, wanted: Collection[str]) -> Mapping[str, str]:
    """Read a run's data again and return the texts of some questions, by the SHA-256 of each.

    Args:
        run: Whose data.
        wanted: The hashes, each once.

    Returns:
        Those that are found: none where the data is gone, or is no longer read by any plugin; fewer where it has changed.
    """
    found: dict[str, str] = {}
    with suppress(AamcError, OSError):  # a report does without
        for text in _texts(run):
            name = text_hash(text)
            if name in wanted:
                found[name] = text
            if len(found) == len(wanted):
                break
    return found


def _texts(run: RunFolder) -> Iterator[str]:
    """Yield the text of each query of the run's datasets, the test's own first."""
    plugins, settings = get_plugin_manager(), run.settings
    readers = dataset_readers(settings, plugins, bare_services(run.pool, plugins, settings))
    for source in (settings.test_dataset, settings.dataset):
        if source is not None:
            read = readers(source).read(source.path)
            for part in (read,) if isinstance(read, Dataset) else read.values():
                yield from (query.text for query in part.queries)
