"""Answers of the models that the router chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs

from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Completion
from aamc_sdk.routing.arguments import PreferenceLike, RouteArguments
from aamc_sdk.serving.decisions.close_guard import CloseGuard
from aamc_sdk.serving.decisions.decider import Decider
from aamc_sdk.serving.decisions.worker_threads import WorkerThreads
from aamc_sdk.serving.models.model_client import ModelClient, conversation
from aamc_sdk.types import Pool, Query


class RoutedCompletions:
    """Decides requests, and has the model client answer them: it calls the chosen model, and the next choice where a call fails.

    Args:
        models: The client for models.
        pool: The candidates.
        decider: Decides requests.
        calls: Admits calls until it is closed.
        workers: Run work that would block an event loop.
    """

    def __init__(self, models: ModelClient, pool: Pool, decider: Decider, calls: CloseGuard, workers: WorkerThreads) -> None:
        self._models, self._pool, self._decider, self._calls, self._workers = models, pool, decider, calls, workers

    async def complete(
        self,
        query: str | Query,
        preference: PreferenceLike,
        options: Mapping[str, Any] | None,
        arguments: RouteArguments,
        on_text: Callable[[str], object] | None = None,
    ) -> Completion:
        """Return the answer; errors as for :meth:`aamc_sdk.MetaController.complete`."""
        if options is not None and not isinstance(options, Mapping):
            raise DataError(f"options must be a mapping such as {{'temperature': 0}}, not {options!r:.80}")
        if on_text is not None and options and options.get("tools"):
            raise DataError("an answer with tool calls does not come piece by piece; leave on_text out, or the tools")
        show = None if on_text is None else partial(self._workers.run, on_text)  # it may block, or complete another request
        described = arguments.query(query)
        arguments = attrs.evolve(arguments, state=self._models.present_state(self._pool, arguments.state))
        with self._calls:
            decision = await self._decider.adecide(described, preference, arguments)
            return await self._models.answer(decision, self._pool, conversation(described), options or {}, show)
