"""Reads interactions into decisions with feedback, divided by user.

A row is an answer: a decision whose episode is the user's turn. Answers of one user to one query belong to one turn, as long as no other query
of the same session comes between them. The mean ratings of a turn's models become comparisons of all pairs (ties are skipped); a turn of a
single model keeps its ratings.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, groupby, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import attrs
from aamc_datasets.json_rows import json_records
from aamc_datasets.recognition import existing

from aamc_gmtrouter.history import CONTEXT, NEUTRAL, PREFERRED
from aamc_gmtrouter.interactions.rows import RatedAnswer, UserProfile, answer_line, user_line
from aamc_sdk import Dataset, DatasetFormat, Decision, Experience, Feedback, ModelSpec, Pool, Preference, Query, Turn, option
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.messages import quantity
from aamc_sdk.types import Estimates

logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class InteractionsOptions:
    """Options of ``interactions``."""

    minimum_rating: float | None = option(None, "Lowest rating of the scale (default: 0; the lowest of all files if lines name judges).")
    maximum_rating: float | None = option(None, "Highest rating of the scale (default: 1; the highest of all files if lines name judges).")
    max_turns: int = option(1000, "Maximum number of turns of a user; the latest are kept, with a warning.", at_least=1)

    def __attrs_post_init__(self) -> None:
        low, high = self.minimum_rating, self.maximum_rating
        if low is not None and high is not None and not low < high:
            raise ConfigError(f"minimum_rating must be below maximum_rating, not {low:g} and {high:g}")


class Interactions(DatasetFormat):
    """Rated answers of users, for personal routers; there are no outcomes."""

    Config = InteractionsOptions
    config: InteractionsOptions

    def read(self, path: str) -> Dataset:
        """Read a file, or all ``.jsonl`` files of a folder as one, since users rather than files divide the data.

        Raises:
            DataError: A file is missing or has an invalid line; the message gives the line.
        """
        profiles: dict[str, UserProfile] = {}
        answers: dict[str, list[RatedAnswer]] = {}
        for answer in self._scaled(path, [answer for file in _files(path) for answer in _read_file(file, profiles)]):
            answers.setdefault(answer.user, []).append(answer)
        if lacking := sorted(set(profiles) - set(answers)):
            logger.warning("%s of %s without any interaction, such as %r: left out", quantity(len(lacking), "user"), path, lacking[0])
        if not answers:
            raise DataError(f"{path} has no interaction; give at least one rated answer")
        return _dataset(path, ((user, profiles.get(user, UserProfile()), self._turns(user, own)) for user, own in answers.items()))

    def _scaled(self, path: str, answers: Sequence[RatedAnswer]) -> list[RatedAnswer]:
        """Return all files' answers with ratings from 0 to 1, on one scale."""
        numbers = [answer for answer in answers if not answer.in_words]
        ratings = [answer.rating for answer in numbers]
        low, high = (min(ratings), max(ratings)) if any(answer.judged for answer in numbers) else (0.0, 1.0)
        low = low if self.config.minimum_rating is None else self.config.minimum_rating
        high = high if self.config.maximum_rating is None else self.config.maximum_rating
        advice = "give the scale with --set dataset.minimum_rating=... and dataset.maximum_rating=..."
        for answer in numbers:
            if not low <= answer.rating <= high:
                raise DataError(f"{answer.where}: a rating must be a number from {low:g} to {high:g}, not {answer.rating:g}; {advice}")
        span = high / 2 - low / 2  # the difference itself may be infinite
        if not span:
            logger.warning("all ratings are %g in %s, and count as neither good nor bad; %s", low, path, advice)

        def scaled(rating: float) -> float:
            return (rating / 2 - low / 2) / span if span else NEUTRAL

        return [answer if answer.in_words else attrs.evolve(answer, rating=scaled(answer.rating)) for answer in answers]

    def _turns(self, user: str, answers: Sequence[RatedAnswer]) -> list[list[RatedAnswer]]:
        """Return a user's turns in time order, at most ``max_turns``."""
        ordered = _in_time_order(user, _without_repeats(user, answers))
        by_exchange = sorted(ordered, key=lambda answer: (answer.session, len(answer.earlier)))
        turns = [list(group) for _, group in groupby(by_exchange, key=lambda answer: (answer.session, len(answer.earlier), answer.query))]
        places = {id(answer): place for place, answer in enumerate(ordered)}
        turns.sort(key=lambda turn: places[id(turn[0])])
        if len(turns) > self.config.max_turns:
            logger.warning("user %r has %d turns; the latest %d are used (option max_turns)", user, len(turns), self.config.max_turns)
        return turns[-self.config.max_turns :]


def _files(path: str) -> list[Path]:
    location = existing(path, "file with interactions, or a folder of such files")
    files = sorted(location.glob("*.jsonl")) if location.is_dir() else [location]
    if not files:
        raise DataError(f"{path} has no .jsonl file, as format interactions reads")
    return files


def _read_file(file: Path, profiles: dict[str, UserProfile]) -> list[RatedAnswer]:
    """Return a file's rated answers, and add its users' profiles."""
    answers: list[RatedAnswer] = []
    for line, row in json_records(file):
        where = f"{file}, line {line}"
        try:
            if isinstance(row, Mapping) and "judge" in row:
                answers += answer_line(row, where)
                continue
            user, profile, own = user_line(row, where)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        before = profiles.get(user, profile)
        for name, first, second in (("contexts", before.context, profile.context), ("preferred models", before.preferred, profile.preferred)):
            if first and second and first != second:
                logger.warning("%s: user %r has %s that differ from earlier ones; the last ones count", where, user, name)
        profiles[user] = UserProfile(profile.context or before.context, profile.preferred or before.preferred)
        answers += own
    return answers


def _without_repeats(user: str, answers: Sequence[RatedAnswer]) -> list[RatedAnswer]:
    """Return answers without those that repeat an earlier one, its rating and time included."""
    kept: dict[tuple[Any, ...], RatedAnswer] = {}
    for answer in answers:
        time = None if math.isnan(answer.time) else answer.time
        kept.setdefault((answer.session, answer.query, answer.model, answer.rating, time, answer.earlier), answer)
    if repeated := len(answers) - len(kept):
        logger.warning("user %r: %s left out, as they repeat earlier ones", user, quantity(repeated, "interaction"))
    return list(kept.values())


def _in_time_order(user: str, answers: Sequence[RatedAnswer]) -> list[RatedAnswer]:
    """Return answers in time order; equal times keep the file's order, and a missing time is that of the answer before."""
    missing, now, timed = 0, 0.0, list[RatedAnswer]()
    for answer in answers:
        missing += math.isnan(answer.time)
        now = now if math.isnan(answer.time) else answer.time
        timed.append(attrs.evolve(answer, time=now))
    if 0 < missing < len(answers):
        logger.warning("user %r: %s without a timestamp, placed after the one before in the file", user, quantity(missing, "interaction"))
    backwards = sum(later.time < earlier.time for earlier, later in pairwise(timed))
    if backwards:
        logger.warning("user %r: timestamps go backwards %s; the interactions are sorted by time", user, quantity(backwards, "time"))
    return sorted(timed, key=lambda answer: answer.time)


def _dataset(source: str, users: Iterable[tuple[str, UserProfile, Sequence[Sequence[RatedAnswer]]]]) -> Dataset:
    """Return the decisions and the feedback of users' turns."""
    queries, decisions, feedback, owners = list[Query](), list[Decision](), list[Feedback](), list[str]()
    for user, profile, turns in users:
        for number, answers in enumerate(turns):
            turn = f"{user}/{number}"
            for place, answer in enumerate(answers):
                try:
                    queries.append(_query(user, profile, answer))
                    decisions.append(Decision(f"{turn}/{place}", answer.model, math.nan, Preference(), time=answer.time, episode=turn))
                except DataError as error:
                    raise DataError(f"{answer.where}: {error}") from error
                owners.append(user)
            feedback += _feedback(turn, answers)
    names = {decision.candidate for decision in decisions} | {turn.model for query in queries for turn in query.turns if turn.model}
    experience = Experience(len(decisions) + len(feedback), queries, Estimates.unknown(len(queries)), decisions, feedback)
    return Dataset(queries, pool=Pool(map(ModelSpec, sorted(names))), experience=experience, source=source, groups=owners)


def _query(user: str, profile: UserProfile, answer: RatedAnswer) -> Query:
    """Return the query of an answer, after what describes the user and the exchanges before."""
    turns = [Turn(CONTEXT, profile.context)] if profile.context else []
    turns += [Turn(PREFERRED, "", model=name) for name in profile.preferred]
    for asked, answered in answer.earlier:
        turns += [Turn("user", asked), Turn("assistant", answered, model=answer.model)]
    return Query(answer.query, user=user, session=answer.session or None, turns=turns)


def _feedback(turn: str, answers: Sequence[RatedAnswer]) -> list[Feedback]:
    """Return the comparisons of a turn's models by their mean ratings, or the ratings of its only model."""
    if len({answer.model for answer in answers}) == 1:
        return [Feedback(decision_id=f"{turn}/{n}", quality=answer.rating, time=answer.time) for n, answer in enumerate(answers)]
    places: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        places.setdefault(answer.model, []).append(place)
    means = {model: round(fmean(answers[place].rating for place in own), 9) for model, own in places.items()}
    found = []
    for pair in combinations(places, 2):
        if means[pair[0]] != means[pair[1]]:
            better, worse = sorted(pair, key=means.__getitem__, reverse=True)
            i, j = (places[model][0] for model in pair)
            won = places[better][0]
            found.append(Feedback(id=f"{turn}/{i}-{j}", decision_id=f"{turn}/{won}", over=worse, time=answers[won].time))
    return found
