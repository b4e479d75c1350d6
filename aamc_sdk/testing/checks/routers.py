"""Checks of routers."""

from __future__ import annotations

import copy
import threading
from typing import Any

import attrs
import numpy as np

from aamc_sdk.interfaces import AsyncRouter, OnlineRouter, Router
from aamc_sdk.testing.another_process import in_another_process
from aamc_sdk.testing.checks.components import (
    LEARNER_CHECKS,
    OPTION_CHECKS,
    THREADS,
    from_threads,
    require_no_global_changes,
    require_no_threads,
    require_reported,
    require_same,
)
from aamc_sdk.testing.checks.online_routers import ONLINE_CHECKS, example_log, users_request
from aamc_sdk.testing.checks.scores import chosen_of, request_of, require_scores, same_scores
from aamc_sdk.testing.findings import checks_in, may_refuse, require, skip
from aamc_sdk.testing.sample_data import GROWN, ORDER, PERMUTED, POOL
from aamc_sdk.testing.subject import Subject, equal, watched
from aamc_sdk.types import Estimates, Outcomes, RoutingRequest, Scores, Turn


def check_shapes(subject: Subject) -> None:
    """Scores have one row a query and one column a candidate, without NaN for allowed candidates."""
    require_scores(subject.trained.score(request_of(subject)), request_of(subject))


def check_masks(subject: Subject) -> None:
    """A masked candidate is never drawn, under any mask."""
    request = request_of(subject)
    for only in range(len(POOL)):
        mask = np.zeros_like(request.mask)
        mask[:, only] = True
        _require_allowed(subject, attrs.evolve(request, mask=mask))
    for seed in range(5):
        mask = np.random.default_rng(seed).random(request.mask.shape) < 0.5
        mask[np.arange(len(mask)), np.arange(len(mask)) % len(POOL)] = True
        _require_allowed(subject, attrs.evolve(request, mask=mask))


def _require_allowed(subject: Subject, request: RoutingRequest) -> None:
    scores = subject.trained.score(request)
    for sample in (False, True):
        chosen = chosen_of(scores, request, sample)
        require(request.mask[np.arange(len(request)), chosen].all(), "a masked candidate was drawn")


def check_the_same_seed_gives_the_same_result(subject: Subject) -> None:
    """Two trainings with the same seed give the same scores."""
    request = request_of(subject)
    require(same_scores(subject.trained.score(request), subject.again.score(request)), "two trainings with the same seed score differently")
    require(same_scores(subject.again.score(request), subject.again.score(request)), "scoring the same request twice gives two results")


def check_a_request_stays_as_it_is(subject: Subject) -> None:
    """``score`` changes neither its request nor the scores that it returned before: the log reads both after the router."""
    request = request_of(subject)
    given = copy.deepcopy(request)  # whose arrays can be written to
    scores = subject.trained.score(given)
    require_same(request, given, "request", "score")
    before = copy.deepcopy(scores)
    subject.trained.score(request.take(slice(None, None, -1)).with_preference(np.array((0.2, 0.3, 0.5))))
    require_same(before, scores, "scores", "the next call of score")


def check_the_cost_of_its_calls_is_reported(subject: Subject) -> None:
    """``spent_usd`` has the cost of the calls of models that ``score`` makes: a decision's own cost counts."""
    router, request = subject.reloaded(subject.trained), request_of(subject)
    spent_usd = np.broadcast_to(router.score(request).spent_usd, len(request))
    if not router.services.models.called:
        skip("it calls no model")
    require_reported(router, float(np.nansum(spent_usd)), "Scores.spent_usd, by row")


def check_instances_share_nothing(subject: Subject) -> None:
    """Training another instance on other data, and its learning, change no score of this one."""
    request, advice = request_of(subject), "keep what is learned in the instance, not in its class or module"
    before = copy.deepcopy(subject.trained.score(request))
    other = subject.other
    require(same_scores(before, subject.trained.score(request)), f"training one instance changes another one's scores: {advice}")
    if isinstance(other, OnlineRouter):
        subject.reloaded(other).learn(example_log())
        require(same_scores(before, subject.trained.score(request)), f"learning in one instance changes another one's scores: {advice}")


def check_training_with_missing_outcomes(subject: Subject) -> None:
    """Training on a table with missing cells, as most have, leaves the scores known."""
    request = request_of(subject)
    try:
        require_scores(subject.trained.score(request), request)
    except AssertionError:
        skip("its scores cannot be used after a training without missing cells either")
    try:
        require_scores(subject.other.score(request), request)
    except AssertionError as error:
        raise AssertionError(f"after a training with a few unknown outcomes (NaN), {error}; leave unknown outcomes out of the fit") from error


def check_untrained_it_scores_or_says_so(subject: Subject) -> None:
    """Without training, a router scores, or raises an AamcError with a message; ``requires`` may declare that it cannot."""
    if subject.target.requires.training:
        skip("it requires training, so it is not served without")
    with may_refuse():
        require_scores(subject.make().score(request_of(subject)), request_of(subject))


def check_ascore_and_score_agree(subject: Subject) -> None:
    """An asynchronous router gives the same scores to ``route`` and ``aroute``."""
    if not issubclass(subject.target, AsyncRouter):
        skip("it has no ascore: it is not an AsyncRouter")
    request = request_of(subject)
    alike = same_scores(subject.trained.score(request), subject.trained.services.loop.run(subject.trained.ascore(request)))
    require(alike, "ascore and score give different scores; leave score to AsyncRouter, which calls ascore")


def check_probabilities_are_drawn_from(subject: Subject) -> None:
    """A router that returns probabilities says whether decisions are drawn from them."""
    scores = subject.trained.score(request_of(subject))
    if scores.probabilities is None:
        skip("it returns no probabilities: the maximum utility decides")
    if subject.target.samples is Router.samples:
        declared = "sample" in {field.name for field in attrs.fields(subject.target.Config)}
        require(declared, "its probabilities are never drawn from: give Config an option sample (a bool), or override the property samples")
        sample = subject.trained.config.sample
        require(
            isinstance(sample, bool), f"option sample must be True or False, not {sample!r}: declare it as a bool, or override the property samples"
        )
    require(isinstance(subject.trained.samples, bool), f"samples must be True or False, not {subject.trained.samples!r}")


def check_closing_twice_does_nothing(subject: Subject) -> None:
    """A second ``close`` is harmless."""
    router = subject.make()
    router.close()
    router.close()


def check_scoring_leaves_no_global_state(subject: Subject) -> None:
    """``score`` neither draws from global generators nor prints to standard output, which belongs to the command's own result."""
    with watched() as found:
        subject.trained.score(request_of(subject))
    require_no_global_changes(found, "score")


def check_closing_ends_its_threads(subject: Subject) -> None:
    """No thread that the router started is left after ``close``, whether it was loaded or trained."""
    request, advice = request_of(subject), "close must end the threads that the router started"
    subject.trained.score(request)  # starts what all routers share
    before = set(threading.enumerate())
    router = subject.reloaded(subject.trained)
    router.score(request)
    router.close()
    router.services.loop.close()  # a controller ends it
    require_no_threads(set(threading.enumerate()) - before, advice)
    subject.again.close()
    subject.close_loops()
    require_no_threads(subject.started, f"{advice} in train")


def check_a_batch_of_one_and_of_none(subject: Subject) -> None:
    """A row's scores do not depend on its batch; an empty batch has empty scores."""
    request = request_of(subject)
    scores = subject.trained.score(request)
    for row in range(len(request)):
        alone = subject.trained.score(request.take(np.array([row])))
        require(equal(alone.utility[0], scores.utility[row], 1e-5), f"the utility of row {row} alone differs from that in its batch")
    none = request.take(np.empty(0, dtype=np.intp))
    require_scores(subject.trained.score(none), none)


def check_permuted_candidates(subject: Subject) -> None:
    """Scores belong to candidates, not to their position in the pool."""
    straight = subject.trained.score(request_of(subject))
    permuted = subject.trained.score(request_of(subject, pool=PERMUTED))
    require(equal(permuted.utility, straight.utility[:, ORDER], 1e-5), "the order of the pool changes the utilities")
    if straight.probabilities is not None:
        require(equal(permuted.probabilities, straight.probabilities[:, ORDER], 1e-5), "the order of the pool changes the probabilities")


def check_unseen_and_missing_candidates(subject: Subject) -> None:
    """The router handles larger and smaller pools, and a pool of one candidate."""
    for pool in (GROWN, POOL.subset(["LLM-XLarge", "SLM-Medium"]), POOL.subset(["LLM-XLarge"])):
        request = request_of(subject, pool=pool)
        require_scores(subject.trained.score(request), request)


def check_save_and_load(subject: Subject) -> None:
    """A router that loads a saved state gives the same scores."""
    request = request_of(subject)
    require(same_scores(subject.trained.score(request), subject.reloaded(subject.trained).score(request)), "the loaded router scores differently")


def _scored(subject: Subject, router: Router) -> Scores:
    return router.score(request_of(subject))


def check_another_process_scores_the_same(subject: Subject) -> None:
    """A process that loads the saved state gives the same scores, though ``hash()`` of a text and the order of sets differ there."""
    router = subject.reloaded(subject.trained)
    if issubclass(subject.target, OnlineRouter) and subject.target.snapshots:
        router.learn(example_log())
    alike = same_scores(_scored(subject, subject.reloaded(router)), in_another_process(subject, router, _scored))
    require(alike, "another process scores differently: use hashlib.sha256 or zlib.crc32 in place of hash(), and sort sets")


def check_scoring_from_several_threads(subject: Subject) -> None:
    """Scores from several threads at once equal those from one thread."""
    request = request_of(subject)
    orders = [np.roll(np.arange(len(request)), turn) for turn in range(THREADS)]
    requests = [request.take(order).with_preference(request.preferences) for order in orders]  # other rows, under other preferences
    for alone, rounds in zip(map(subject.trained.score, requests), from_threads(subject.trained.score, requests), strict=True):
        require(all(same_scores(alone, scores) for scores in rounds), "threads disturb each other")


def check_without_an_estimator_it_works_or_says_so(subject: Subject) -> None:
    """Without estimates, a router decides or raises an AamcError with a message."""
    bare = _without_estimator(subject)
    with may_refuse():
        scores = subject.trained.score(bare)
        missing = "without an estimator request.expected.quality is None: score without it, or raise an AamcError"
        require(np.shape(scores.utility) == bare.mask.shape, f"utility must be numbers {bare.mask.shape}, not {scores.utility!r:.40}; {missing}")
        chosen_of(scores, bare, subject.trained.samples)


def _without_estimator(subject: Subject) -> RoutingRequest:
    """Return the request of the checks as it is without an estimator."""
    request = request_of(subject)
    expected = Outcomes(None, request.expected.cost_usd, request.expected.latency_ms)
    return attrs.evolve(request, estimates=Estimates.unknown(len(request)), expected=expected)


def check_unknown_costs_and_latencies(subject: Subject) -> None:
    """Under a preference for quality alone, a router scores where the cost of a candidate and all latencies are unknown, as in most tables."""
    request = request_of(subject).with_preference(np.array((1.0, 0.0, 0.0)))
    cost_usd = np.where(np.arange(len(POOL)) == 0, np.nan, request.expected.cost_usd)
    expected = attrs.evolve(request.expected, cost_usd=cost_usd, latency_ms=np.full_like(cost_usd, np.nan))
    unknown = attrs.evolve(request, expected=expected, hindsight=None if request.hindsight is None else expected)
    try:
        with may_refuse():
            require_scores(subject.trained.score(unknown), unknown)
    except AssertionError as error:
        raise AssertionError(f"with unknown costs and latencies (NaN), as in most tables and pools: {error}") from error


def check_uses_preference_is_true_where_it_matters(subject: Subject) -> None:
    """A router with ``uses_preference = False`` gives the same scores under every preference."""
    request = request_of(subject)
    first, second = (subject.trained.score(request.with_preference(np.array(corner))) for corner in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
    require(subject.trained.uses_preference or same_scores(first, second), "uses_preference is False, but the preference changes the scores")


def check_an_earlier_request_changes_no_scores(subject: Subject) -> None:
    """A router that has scored other requests, of the same queries, users and sessions too, scores as a new one."""
    request = request_of(subject)
    for corner in np.eye(3)[:2]:
        preferred = request.with_preference(corner)
        alike = same_scores(subject.trained.score(preferred), subject.reloaded(subject.trained).score(preferred))
        require(alike, "the scores depend on the requests before: cache by all that they depend on, such as the preference")
    used, request = subject.reloaded(subject.trained), users_request(subject)
    for rows in (slice(None, None, -1), slice(1), slice(5)):  # together no multiple of the number of candidates
        used.score(request.take(rows))
    advice = "keep no state in score: learn from the log, and draw by probabilities"
    alike = same_scores(used.score(request), subject.reloaded(subject.trained).score(request))
    require(alike, f"the scores depend on the requests before, such as their number or the first one of a user or session: {advice}")


def check_uses_estimates_is_true_where_it_matters(subject: Subject) -> None:
    """A router with ``uses_estimates = False`` gives the same scores without estimates and expected quality."""
    with_estimates, without = request_of(subject), _without_estimator(subject)
    alike = subject.target.uses_estimates or same_scores(subject.trained.score(with_estimates), subject.trained.score(without))
    require(alike, "uses_estimates is False, but the estimates change the scores")


def check_texts_are_declared_where_they_matter(subject: Subject) -> None:
    """A router without ``requires.text`` gives the same scores without the texts, which logs keep only on request."""
    if subject.target.requires.text:
        skip("requires.text says that it reads texts")
    require(_ignores(subject, text=""), "the texts of queries change the scores: declare requires = Requirements(text=True)")


def check_earlier_turns_are_declared_where_they_matter(subject: Subject) -> None:
    """A router without ``requires.history`` gives the same scores whatever was said before."""
    if subject.target.requires.history:
        skip("requires.history says that it reads earlier turns")
    turns = Turn("user", "Translate this."), Turn("assistant", "Which language?")
    require(_ignores(subject, turns=turns), "the earlier turns of queries change the scores: declare requires = Requirements(history=True)")


def _ignores(subject: Subject, **fields: Any) -> bool:
    """Return whether the scores stay the same with other fields of the queries, and equal lengths of prompts."""
    request = request_of(subject)
    queries = [attrs.evolve(query, prompt_tokens=query.expected_prompt_tokens, **fields) for query in request.queries]
    return same_scores(subject.trained.score(request), subject.trained.score(attrs.evolve(request, queries=queries)))


def check_several_preferences_at_once(subject: Subject) -> None:
    """``score_each`` gives the scores that ``score`` gives under each preference."""
    request, preferences = request_of(subject), np.eye(3)
    each = list(subject.trained.score_each(request, preferences))
    require(len(each) == len(preferences), f"score_each must give scores for each of {len(preferences)} preferences, not {len(each)}")
    alone = [subject.trained.score(request.with_preference(preference)) for preference in preferences]
    require(all(map(same_scores, each, alone)), "score_each and score differ under the same preference")


CHECKS = (*OPTION_CHECKS, *LEARNER_CHECKS, *checks_in(__name__), *ONLINE_CHECKS)
