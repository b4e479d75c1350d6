"""Judgements of users: comparisons of two answers, or ratings of one.

A router sees feedback as an :class:`aamc_sdk.types.Experience`: from dataset ``interactions``, from a log, or while it serves. A comparison is
a judgement of its own; a rating is one too, on the side of its candidate if above a half, against it if below, and none at exactly a half.
Judgements of one decision, or of one episode, belong to one turn. Each row of an outcome table is a turn of its user, or of an unknown one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
import numpy as np

from aamc_sdk.types import Dataset, Experience, Feedback, Floats, Query, tenant_user

NEUTRAL = 0.5
"""The rating that says neither good nor bad."""
PREFERRED = "preferred"
"""Role of a turn that names a model which the user prefers in general."""
CONTEXT = "system"
"""Role of the first turn if it describes the user or the application."""
MAX_USERS = 100_000
"""Maximum number of users with a history; the one that judged longest ago goes first."""
ROW_PAIRS = 8
"""Maximum number of comparisons that a row of an outcome table gives: a fit's cost grows with the third power of a user's judgements."""


@attrs.frozen(eq=False)
class UserJudgement:
    """A user's judgement on one or two answers to a turn.

    Attributes:
        feedback: The id of the feedback.
        turn: The turn: the decision's episode, else the decision.
        session: The conversation; None for none.
        better: The candidate that won; the rated candidate of a rating.
        worse: The candidate that lost; None for a rating, which compares with an average candidate.
        sign: 1, or -1 for a rating below a half.
        query: The query's embedding ``[D]``; None if unknown.
    """

    feedback: str
    turn: str
    session: str | None
    better: str
    worse: str | None
    sign: float
    query: Floats | None

    @property
    def sides(self) -> tuple[tuple[str, float], ...]:
        """The judged models: ``better`` with 1, and ``worse``, if there is one, with -1."""
        return ((self.better, 1.0),) if self.worse is None else ((self.better, 1.0), (self.worse, -1.0))


@attrs.frozen(eq=False)
class UserHistory:
    """The judgements of one user, oldest first, and the user's own description.

    Attributes:
        context: The text that describes the user; empty for none.
        preferred: Names of models that the user prefers in general.
    """

    judgements: tuple[UserJudgement, ...] = ()
    context: str = ""
    preferred: tuple[str, ...] = ()

    def changed(self, change: HistoryChange, new: Iterable[UserJudgement], limit: int) -> UserHistory:
        """Return the history with the judgements of a piece of feedback, in place of its earlier ones, and at most the last ``limit`` turns.

        The revision of a judgement whose turn is no longer among them changes nothing.
        """
        places = [place for place, each in enumerate(self.judgements) if each.feedback == change.feedback]
        if change.judged_before and not places:
            return self
        first, last = (places[0], places[-1] + 1) if places else (len(self.judgements), len(self.judgements))
        return attrs.evolve(self, judgements=last_turns((*self.judgements[:first], *new, *self.judgements[last:]), limit))

    @property
    def turns(self) -> list[str]:
        """The judged turns, oldest first."""
        return list(dict.fromkeys(each.turn for each in self.judgements))


def last_turns(judgements: Sequence[UserJudgement], limit: int) -> tuple[UserJudgement, ...]:
    """Return the judgements of the last ``limit`` turns."""
    turns = list(dict.fromkeys(each.turn for each in judgements))
    if len(turns) <= limit:
        return tuple(judgements)
    kept = set(turns[-limit:])
    return tuple(each for each in judgements if each.turn in kept)


def user_key(query: Query) -> str | None:
    """Return the key of a query's user; users of several tenants may share a name. None without a user."""
    return None if query.user is None else tenant_user(query.user, query.tenant)


def described(query: Query) -> tuple[str, tuple[str, ...]]:
    """Return the context that a query's turns give, and the models that they name as preferred."""
    context = next((turn.content for turn in query.turns[:1] if turn.role == CONTEXT), "")
    return context, tuple(turn.model for turn in query.turns if turn.role == PREFERRED and turn.model is not None)


@attrs.frozen(eq=False)
class HistoryChange:
    """The change of a user's history by one piece of feedback; changes in log order give the same histories whatever the batches of the log were.

    Attributes:
        user: The :func:`user_key`.
        feedback: The id of the feedback; earlier judgements of the same id no longer count.
        judgements: The new judgement; none for a tie or a neutral rating.
        query: The judged query.
        judged_before: Whether an earlier revision was a judgement.
    """

    user: str
    feedback: str
    judgements: tuple[UserJudgement, ...]
    query: Query
    judged_before: bool


def history_changes(experience: Experience) -> Iterator[HistoryChange]:
    """Yield the changes of users' histories in log order; feedback without a user or a decision changes none."""
    rows = experience.rows
    for feedback in experience.feedback:
        row = rows.get(feedback.decision_id)
        if row is not None and (key := user_key(experience.queries[row])) is not None:
            replaced = experience.replaced_by(feedback)
            judged_before = replaced is not None and bool(_judgements(experience, row, replaced))
            yield HistoryChange(key, feedback.id, _judgements(experience, row, feedback), experience.queries[row], judged_before)


def keep_history(users: dict[str, UserHistory], key: str, history: UserHistory) -> list[str]:
    """Set a user's history as the latest one, and return the users that were dropped: of more than ``MAX_USERS``, the first ones."""
    users.pop(key, None)
    users[key] = history
    dropped = list(itertools.islice(users, max(0, len(users) - MAX_USERS)))
    for name in dropped:
        del users[name]
    return dropped


def _judgements(experience: Experience, row: int, feedback: Feedback) -> tuple[UserJudgement, ...]:
    decision, query, embedding = experience.decisions[row], experience.queries[row], experience.estimates.embedding
    if feedback.average_weight <= 0 or feedback.tie or feedback.quality == NEUTRAL or decision.is_step:
        return ()
    known = embedding is not None and bool(np.isfinite(embedding[row]).all())
    judgement = UserJudgement(
        feedback=feedback.id,
        turn=decision.episode or decision.id,
        session=query.session,
        better=feedback.candidate or decision.candidate,
        worse=feedback.over,
        sign=1.0 if feedback.quality is None or feedback.quality > NEUTRAL else -1.0,
        query=np.asarray(embedding[row], dtype=np.float64) if known and embedding is not None else None,
    )
    return (judgement,)


def histories(experience: Experience, limit: int) -> dict[str, UserHistory]:
    """Return the history of each user with a judgement; of more than ``limit`` turns the last ones."""
    found, queries = dict[str, UserHistory](), dict[str, Query]()
    for change in history_changes(experience):
        found[change.user] = found.get(change.user, UserHistory()).changed(change, change.judgements, limit)
        if change.judgements:
            queries[change.user] = change.query
    return {key: UserHistory(history.judgements, *described(queries[key])) for key, history in found.items() if history.judgements}


def row_histories(dataset: Dataset, names: Sequence[str], embedding: Floats, rng: np.random.Generator, limit: int) -> dict[str, UserHistory]:
    """Return the histories of an outcome table: each row is a turn in which its user compared the answers, or an unknown user, by the row's name.

    Args:
        dataset: Q queries with the outcomes of M candidates.
        names: The candidates' names, M of them.
        embedding: Embeddings of the queries, ``[Q, D]``.
        rng: Draws the order of the rows, because tables are sorted, and at most ``ROW_PAIRS`` of each row's pairs of different quality.
        limit: The maximum number of turns of a user.
    """
    found: dict[str, list[UserJudgement]] = {}
    quality = None if dataset.outcomes is None else dataset.outcomes.quality
    if quality is None:
        return {}
    for row in rng.permutation(len(quality)).tolist():
        pairs = np.argwhere(quality[row][:, None] > quality[row][None, :])
        drawn = pairs if len(pairs) <= ROW_PAIRS else pairs[rng.choice(len(pairs), ROW_PAIRS, replace=False)]
        turn = f"row {row}"
        won = [(names[better], names[worse]) for better, worse in drawn]
        if won:
            judged = (UserJudgement(f"{turn}: {better}, {worse}", turn, None, better, worse, 1.0, embedding[row]) for better, worse in won)
            found.setdefault(user_key(dataset.queries[row]) or turn, []).extend(judged)
    return {name: UserHistory(last_turns(judged, limit)) for name, judged in found.items()}


def users_of(dataset: Dataset) -> set[str]:
    """Return the keys of the users of all queries."""
    return {key for query in dataset.queries if (key := user_key(query)) is not None}


def absolute(items: Iterable[UserJudgement]) -> list[UserJudgement]:
    """Return judgements as labels of single answers: a comparison becomes a positive one and a negative one."""
    labels: list[UserJudgement] = []
    for each in items:
        labels.append(attrs.evolve(each, worse=None))
        if each.worse is not None:
            labels.append(attrs.evolve(each, better=each.worse, worse=None, sign=-each.sign))
    return labels


def names_in(items: Mapping[str, UserHistory]) -> list[str]:
    """Return the names of all judged models, sorted."""
    judged = {name for history in items.values() for each in history.judgements for name, _ in each.sides}
    return sorted(judged | {name for history in items.values() for name in history.preferred})
