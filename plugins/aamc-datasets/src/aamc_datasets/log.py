"""Dataset format ``log``: a decision log, such as ``log:sqlite:state.db``, so that served traffic trains routers.

A row is a decision. Outcomes are known where there is feedback on the quality of the chosen candidate, and NaN elsewhere; experience has
every decision, attempt and piece of feedback in its latest revision. A log keeps texts only with its store's option ``store_text``; without any
text, rows are divided by time into train, validation and test, since questions cannot be compared. Where no user made more than a tenth of the
decisions, rows are divided by user instead.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing

import numpy as np

from aamc_sdk import Dataset, DatasetFormat, Experience, ModelSpec, Pool
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Store, public_url
from aamc_sdk.log import DECISION, FEEDBACK, Batch, open_store, outcomes_of, read_batches
from aamc_sdk.messages import quantity
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.types import Outcomes, Query, tenant_user

logger = logging.getLogger(__name__)
_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
_LARGEST_USER = 0.1
"""The share of decisions above which one user's rows make the splits uneven; that of the validation split."""


class LogFormat(DatasetFormat):
    """Decisions, attempts and feedback of a served log."""

    def read(self, path: str) -> Dataset | Mapping[str, Dataset]:
        """Read the log of a store's URL; without texts it is divided already.

        Raises:
            DataError: There is no URL, or the log has no decision.
            StoreError: The log cannot be opened.
        """
        if not path:
            raise DataError("no log was given; name its store's URL after the format's colon, such as log:sqlite:state.db")
        with closing(open_store(path, get_plugin_manager(), existing=True)) as store:
            experience = _whole(store)
            dropped = 0 if experience.decisions else sum(each.decisions for each in store.aggregates())
        log_name = public_url(path)
        if dropped:
            shown = quantity(dropped, "decision")
            raise DataError(f"retention has dropped all {shown} of the log {log_name}; serve more requests, or keep them longer")
        if not experience.decisions:
            raise DataError(f"the log {log_name} has no decision yet; serve some requests first")
        names = dict.fromkeys(name for record in experience.records for name in record.candidates)
        whole = Dataset(
            experience.queries,
            pool=Pool(ModelSpec(name) for name in names),
            outcomes=_outcomes(experience, list(names)),
            experience=experience,
            source=log_name,
            groups=_users(experience.queries),
        )
        if any(query.text for query in whole.queries):
            return whole
        lost = "estimators learn nothing from it, and routers know its queries only by embeddings that their own estimator left in it"
        logger.warning("log %s keeps no texts: %s; log with the store's option store_text=true", log_name, lost)
        return whole if whole.groups is not None else _divided_by_time(whole)


def _whole(store: Store) -> Experience:
    """Return a whole log without the feedback that later revisions replaced.

    It is read in batches: one large read would keep a server from serving others, or not be answered in time.
    """
    batches = list(read_batches(store))
    last, entries = batches[-1], [row for batch in batches for row in batch.rows]
    latest = {row.id: row for row in entries if row.kind == FEEDBACK}
    rows = [row for row in entries if row.kind != FEEDBACK or latest[row.id] is row]
    decisions = [row for row in rows if row.kind == DECISION]
    return Batch(last.position, rows, decisions, last.epoch, batches[0].follows, start=last.start).experience()


def _users(queries: Sequence[Query]) -> list[str] | None:
    """Return the user of each query, empty for none; None if there are no users, or too few to divide the rows by user."""
    users = ["" if query.user is None else tenant_user(query.user, query.tenant) for query in queries]
    most = max(Counter(filter(None, users)).values(), default=len(users))
    return users if most <= _LARGEST_USER * len(users) else None


def _outcomes(experience: Experience, names: list[str]) -> Outcomes | None:
    """Return the known outcomes of the chosen candidates; None if no feedback gives a quality.

    Feedback on the answer of an orchestrator judges none of them.
    """
    logged = outcomes_of(experience)
    steps = np.array([decision.is_step for decision in experience.decisions], dtype=bool)
    quality = np.where(logged.judged & steps, np.nan, logged.quality)
    if np.isnan(quality).all():
        return None
    rows, chosen = np.arange(len(logged)), np.array([names.index(name) for name in logged.candidates])

    def of_chosen(values: np.ndarray) -> np.ndarray:
        table = np.full((len(logged), len(names)), np.nan)
        table[rows, chosen] = values
        return table

    tokens = None if np.isnan(logged.output_tokens).all() else of_chosen(logged.output_tokens)
    return Outcomes(of_chosen(quality), of_chosen(logged.cost_usd), of_chosen(logged.latency_ms), output_tokens=tokens)


def _divided_by_time(whole: Dataset) -> dict[str, Dataset]:
    """Return the first decisions for training, later ones for validation and the last ones for tests.

    Raises:
        DataError: There are fewer decisions than splits.
    """
    if len(whole) < len(_SHARES):
        raise DataError(
            f"the log {whole.source} has {quantity(len(whole), 'decision')}, and train, validation and test need one each; serve more requests"
        )
    inner = np.round(np.cumsum(list(_SHARES.values()))[:-1] * len(whole)).astype(int)
    first = int(np.clip(inner[0], 1, len(whole) - 2))
    ends = [0, first, int(np.clip(inner[1], first + 1, len(whole) - 1)), len(whole)]
    return {name: whole.take(np.arange(start, end)) for name, start, end in zip(_SHARES, ends, ends[1:], strict=False)}
