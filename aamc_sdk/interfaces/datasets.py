"""Formats of datasets."""

from __future__ import annotations

import abc
from collections.abc import Mapping

from aamc_sdk.interfaces.components import BaseComponent
from aamc_sdk.types import Dataset


class DatasetFormat(BaseComponent):
    """Reads datasets of one format."""

    @abc.abstractmethod
    def read(self, path: str) -> Dataset | Mapping[str, Dataset]:
        """Read a dataset, or the splits ``train``, ``validation`` and ``test`` of one.

        Args:
            path: The user's text after ``FORMAT:``; may be empty for a format that needs no path.

        Raises:
            DataError: The data is missing, has another format, or has a bad row.
        """
