"""Configuration files of other systems."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.interfaces.components import NamedComponent
from aamc_sdk.messages import check_type
from aamc_sdk.types import Pool


@attrs.frozen
class ForeignSettings:
    """The settings read from a configuration file of another system.

    Attributes:
        content: The same settings by the keys of the SDK's configuration files.
        pool: The candidates that the file describes; None if it describes none.

    Raises:
        TypeError: A value is of another type.
    """

    content: Mapping[str, Any]
    pool: Pool | None = None

    def __attrs_post_init__(self) -> None:
        check_type(self.content, Mapping, "the content of settings must be keys and values")
        check_type(self.pool, Pool | None, "the pool of settings must be aamc_sdk.Pool or None")


class ConfigFormat(NamedComponent):
    """Reads the configuration files of another system. Made without arguments."""

    @abc.abstractmethod
    def recognizes(self, content: Mapping[str, Any]) -> bool:
        """Return whether a file's content has this format. Files whose keys are all the SDK's are its own: no format is asked about them."""

    @classmethod
    def example(cls) -> Mapping[str, Any] | None:
        """Return the content of a small valid file, which the conformance kit reads; None leaves out the checks that need one."""
        return None

    @abc.abstractmethod
    def serving(self, content: Mapping[str, Any], path: Path, decision: str | None = None) -> ForeignSettings:
        """Translate a file for a controller; log a warning that names each key without effect.

        Args:
            content: The file's content.
            path: The file's path, for messages.
            decision: The name of one of the file's configurations, if it has several; the first usable one when None.

        Raises:
            ConfigError: The file cannot be used.
        """

    @abc.abstractmethod
    def experiment(self, content: Mapping[str, Any], path: Path, decision: str | None = None, router: str | None = None) -> Mapping[str, Any]:
        """Translate a file for an experiment as :meth:`serving` does, by the keys of the SDK's configuration files.

        The file's candidates go under ``pool``, as :func:`aamc_sdk.routing.pool_to_dict` returns them. Without that key, the experiment has the
        candidates of its data, else the default pool. ``router`` is the one that the command line names instead of the file's, if any.
        """
