"""Checks of routers."""

from __future__ import annotations

import copy
import threading
import time

import attrs
import numpy as np

from aamc_sdk.errors import AamcError, PluginError, StoreError
from aamc_sdk.interfaces import AsyncRouter, OnlineRouter, Router
from aamc_sdk.log.json_text import check_plain
from aamc_sdk.routing import draw
from aamc_sdk.routing.draw import check_spent
from aamc_sdk.serving import state_of
from aamc_sdk.serving.learner.snapshots import restore
from aamc_sdk.testing.another_process import in_another_process
from aamc_sdk.testing.components import LEARNER_CHECKS, OPTION_CHECKS, THREADS, from_threads, require_same
from aamc_sdk.testing.findings import checks_in, require, skip
from aamc_sdk.testing.subject import Subject, equal
from aamc_sdk.testing.world import NEWCOMER, POOL, estimates_of, make_dataset, make_request
from aamc_sdk.types import Dataset, Decision, Estimates, Experience, Feedback, Outcomes, Pool, Preference, RoutingRequest, Scores

_END_S = 1.0
"""Seconds in which a closed router's threads must end."""


def _request(subject: Subject, dataset: Dataset | None = None, pool: Pool = POOL) -> RoutingRequest:
    return make_request(subject.test_set if dataset is None else dataset, pool, hindsight=subject.target.privileged)


def _same(left: Scores, right: Scores, tolerance: float = 1e-6) -> bool:
    """Return whether two scores have equal utilities and probabilities."""
    return equal(left.utility, right.utility, tolerance) and equal(left.probabilities, right.probabilities, tolerance)


def _ids(request: RoutingRequest) -> list[str]:
    return [f"0/0/{row}" for row in range(len(request))]


def check_shapes(subject: Subject) -> None:
    """Scores have one row a query and one column a candidate, without NaN for allowed candidates."""
    _require_shapes(subject.trained.score(_request(subject)), _request(subject))


def _require_shapes(scores: Scores, request: RoutingRequest) -> None:
    rows, shape = len(request), request.mask.shape
    require(isinstance(scores, Scores), f"score must return aamc_sdk.Scores, not {type(scores).__name__}")
    for name in ("utility", "probabilities", "expected_quality"):
        array = getattr(scores, name)
        is_real = isinstance(array, np.ndarray) and array.dtype.kind in "fiub"
        require(is_real or (array is None and name != "utility"), f"{name} must be a numpy array of real numbers, not {array!r:.80}")
    require(np.shape(scores.utility) == shape, f"utility must be {shape}, not {np.shape(scores.utility)}")
    require(not np.isnan(scores.utility[request.mask]).any(), "utility is NaN for an allowed candidate")
    if scores.probabilities is not None:
        require(np.shape(scores.probabilities) == shape, f"probabilities must be {shape}, not {np.shape(scores.probabilities)}")
        require((scores.probabilities >= 0).all(), "probabilities must not be negative or NaN")
        allowed = np.where(request.mask, scores.probabilities, 0.0).sum(axis=1)
        require((allowed > 0).all(), "probabilities must be positive for at least one allowed candidate")
    if scores.expected_quality is not None:
        require(np.shape(scores.expected_quality) == shape, f"expected_quality must be {shape}, not {np.shape(scores.expected_quality)}")
    for name in ("spent_usd", "spent_ms"):
        try:
            check_spent(name, getattr(scores, name), rows)
        except PluginError as error:
            raise AssertionError(str(error)) from error
    require(len(scores.notes) in (0, rows), f"notes must be empty or one a row, not {len(scores.notes)} for {rows} rows")
    for note in scores.notes:
        try:
            check_plain(note)
        except StoreError as error:
            raise AssertionError(f"the log cannot keep a note: {error}") from error


def check_masks(subject: Subject) -> None:
    """A masked candidate is never drawn, under any mask."""
    request = _request(subject)
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
        chosen = draw(scores, request, sample, 0, _ids(request)).chosen
        require(request.mask[np.arange(len(request)), chosen].all(), "a masked candidate was drawn")


def check_the_same_seed_gives_the_same_result(subject: Subject) -> None:
    """Two trainings with the same seed give the same scores."""
    again = subject.make()
    again.train(subject.training())
    request = _request(subject)
    require(_same(subject.trained.score(request), again.score(request)), "two trainings with the same seed score differently")
    require(_same(again.score(request), again.score(request)), "scoring the same request twice gives two results")


def check_a_request_stays_as_it_is(subject: Subject) -> None:
    """``score`` changes neither its request nor the scores that it returned before: the log reads both after the router."""
    request = _request(subject)
    given = copy.deepcopy(request)  # whose arrays can be written to
    scores = subject.trained.score(given)
    require_same(request, given, "request", "score")
    before = copy.deepcopy(scores)
    subject.trained.score(request.take(slice(None, None, -1)).with_preference(np.array((0.2, 0.3, 0.5))))
    require_same(before, scores, "scores", "the next call of score")


def check_instances_share_nothing(subject: Subject) -> None:
    """Training another instance on other data, and its learning, change no score of this one."""
    request, other, advice = _request(subject), subject.make(), "keep what is learned in the instance, not in its class or module"
    before = copy.deepcopy(subject.trained.score(request))
    other.train(subject.other_training())
    require(_same(before, subject.trained.score(request)), f"training one instance changes another one's scores: {advice}")
    if isinstance(other, OnlineRouter):
        other.learn(_experience(0))
        require(_same(before, subject.trained.score(request)), f"learning in one instance changes another one's scores: {advice}")


def check_untrained_it_scores_or_says_so(subject: Subject) -> None:
    """Without training, a router scores, or raises an AamcError with a message; ``requires`` may declare that it cannot."""
    if subject.target.requires.training:
        skip("it requires training, so it is not served without")
    try:
        _require_shapes(subject.make().score(_request(subject)), _request(subject))
    except AamcError as error:
        require(str(error), "the error has no message")


def check_ascore_and_score_agree(subject: Subject) -> None:
    """An asynchronous router gives the same scores to ``route`` and ``aroute``."""
    if not issubclass(subject.target, AsyncRouter):
        skip("it has no ascore: it is no AsyncRouter")
    request = _request(subject)
    alike = _same(subject.trained.score(request), subject.trained.services.loop.run(subject.trained.ascore(request)))
    require(alike, "ascore and score give different scores; leave score to AsyncRouter, which calls ascore")


def check_probabilities_are_drawn_from(subject: Subject) -> None:
    """A router that returns probabilities says whether decisions are drawn from them."""
    scores = subject.trained.score(_request(subject))
    if scores.probabilities is None:
        skip("it returns no probabilities: the maximum utility decides")
    own = subject.target.samples is not Router.samples
    declared = own or "sample" in {field.name for field in attrs.fields(subject.target.Config)}
    require(declared, "its probabilities are never drawn from: give Config an option sample (a bool), or override the property samples")
    require(isinstance(subject.trained.samples, bool), f"samples must be True or False, not {subject.trained.samples!r}")


def check_closing_twice_does_nothing(subject: Subject) -> None:
    """A second ``close`` is harmless."""
    router = subject.make()
    router.close()
    router.close()


def check_closing_ends_its_threads(subject: Subject) -> None:
    """No thread that the router started is left after ``close``."""
    request = _request(subject)
    subject.trained.score(request)  # starts what all routers share
    before = set(threading.enumerate())
    router = subject.reloaded(subject.trained)
    router.score(request)
    router.close()
    router.services.loop.close()  # a controller ends it
    started, end = set(threading.enumerate()) - before, time.monotonic() + _END_S
    for thread in started:
        thread.join(max(0.0, end - time.monotonic()))
    left = sorted(thread.name for thread in started if thread.is_alive())
    require(not left, f"close must end the threads that the router started; still alive: {', '.join(left)}")


def check_a_batch_of_one_and_of_none(subject: Subject) -> None:
    """A row's scores do not depend on its batch; an empty batch has empty scores."""
    request = _request(subject)
    scores = subject.trained.score(request)
    for row in range(len(request)):
        alone = subject.trained.score(request.take(np.array([row])))
        require(equal(alone.utility[0], scores.utility[row], 1e-5), f"row {row} has another utility alone than in its batch")
    none = request.take(np.empty(0, dtype=np.intp))
    _require_shapes(subject.trained.score(none), none)


def check_permuted_candidates(subject: Subject) -> None:
    """Scores belong to candidates, not to their position in the pool."""
    order = [2, 0, 3, 1]
    straight = subject.trained.score(_request(subject))
    permuted = subject.trained.score(_request(subject, pool=Pool(POOL.candidates[m] for m in order)))
    require(equal(permuted.utility, straight.utility[:, order], 1e-5), "the order of the pool changes the utilities")
    if straight.probabilities is not None:
        require(equal(permuted.probabilities, straight.probabilities[:, order], 1e-5), "the order of the pool changes the probabilities")


def check_unseen_and_missing_candidates(subject: Subject) -> None:
    """The router handles larger and smaller pools, and a pool of one candidate."""
    grown = Pool((NEWCOMER, *POOL.candidates))
    for pool in (grown, POOL.subset(["LLM-XLarge", "SLM-Medium"]), POOL.subset(["LLM-XLarge"])):
        request = _request(subject, pool=pool)
        _require_shapes(subject.trained.score(request), request)


def check_save_and_load(subject: Subject) -> None:
    """A router that loads a saved state gives the same scores."""
    request = _request(subject)
    require(_same(subject.trained.score(request), subject.reloaded(subject.trained).score(request)), "the loaded router scores differently")


def _scored(subject: Subject, router: Router) -> Scores:
    return router.score(_request(subject))


def check_another_process_scores_the_same(subject: Subject) -> None:
    """A process that loads the saved state gives the same scores, though ``hash()`` of a text and the order of sets differ there."""
    router = subject.trained
    if issubclass(subject.target, OnlineRouter) and subject.target.snapshots:
        router = subject.reloaded(router)
        router.learn(_experience(0))
    alike = _same(_scored(subject, router), in_another_process(subject, router, _scored))
    require(alike, "another process scores differently: use hashlib.sha256 or zlib.crc32 in place of hash(), and sort sets")


def check_scoring_from_several_threads(subject: Subject) -> None:
    """Scores from several threads at once equal those from one thread."""
    request = _request(subject)
    orders = [np.roll(np.arange(len(request)), turn) for turn in range(THREADS)]
    requests = [request.take(order).with_preference(request.preferences) for order in orders]  # other rows, under other preferences
    for alone, rounds in zip(map(subject.trained.score, requests), from_threads(subject.trained.score, requests), strict=True):
        require(all(_same(alone, scores) for scores in rounds), "threads disturb each other")


def check_without_an_estimator_it_works_or_says_so(subject: Subject) -> None:
    """Without estimates, a router decides or raises an AamcError with a message."""
    request = _request(subject)
    nothing = Outcomes(None, request.expected.cost_usd, request.expected.latency_ms)
    bare = attrs.evolve(request, estimates=Estimates.unknown(len(request)), expected=nothing)
    try:
        draw(subject.trained.score(bare), bare, subject.trained.samples, 0, _ids(bare))
    except AamcError as error:
        require(str(error), "the error has no message")


def check_uses_preference_is_true_where_it_matters(subject: Subject) -> None:
    """A router with ``uses_preference = False`` gives the same scores under every preference."""
    request = _request(subject)
    first, second = (subject.trained.score(request.with_preference(np.array(corner))) for corner in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
    require(subject.trained.uses_preference or _same(first, second), "uses_preference is False, but the preference changes the scores")


def check_uses_estimates_is_true_where_it_matters(subject: Subject) -> None:
    """A router with ``uses_estimates = False`` gives the same scores without estimates and expected quality."""
    request = _request(subject)
    nothing = Outcomes(None, request.expected.cost_usd, request.expected.latency_ms)
    bare = attrs.evolve(request, estimates=Estimates.unknown(len(request)), expected=nothing)
    alike = subject.target.uses_estimates or _same(subject.trained.score(request), subject.trained.score(bare))
    require(alike, "uses_estimates is False, but the estimates change the scores")


def check_texts_are_declared_where_they_matter(subject: Subject) -> None:
    """A router without ``requires.text`` gives the same scores without the texts, which logs keep only on request."""
    if subject.target.requires.text:
        skip("requires.text says that it reads texts")
    request = _request(subject)
    queries = [attrs.evolve(query, text="", prompt_tokens=query.expected_prompt_tokens) for query in request.queries]
    alike = _same(subject.trained.score(request), subject.trained.score(attrs.evolve(request, queries=queries)))
    require(alike, "the texts of queries change the scores: declare requires = Requirements(text=True)")


def check_several_preferences_at_once(subject: Subject) -> None:
    """``score_each`` gives the scores that ``score`` gives under each preference."""
    request, preferences = _request(subject), np.eye(3)
    each = list(subject.trained.score_each(request, preferences))
    require(len(each) == len(preferences), f"score_each must give scores for each of {len(preferences)} preferences, not {len(each)}")
    alone = [subject.trained.score(request.with_preference(preference)) for preference in preferences]
    require(all(map(_same, each, alone)), "score_each and score differ under the same preference")


def _skip_without_learning(subject: Subject) -> None:
    if not issubclass(subject.target, OnlineRouter):
        skip("it does not learn from the log: it is no OnlineRouter")


def _skip_without_snapshots(subject: Subject) -> None:
    _skip_without_learning(subject)
    if not subject.target.snapshots:
        skip("snapshots is False: a restart learns the whole log again")


def check_learning_does_not_depend_on_batches(subject: Subject) -> None:
    """The log may be divided into batches anywhere: a decision comes again with later feedback, and counts once."""
    _skip_without_learning(subject)
    whole, divided, request = subject.reloaded(subject.trained), subject.reloaded(subject.trained), _request(subject)
    entire = _experience(0, 16)
    whole.learn(entire)
    halves = [entire.take(np.arange(8)), entire.take(np.arange(8, 16))]
    for begun, half in zip((0, 16), halves, strict=True):
        divided.learn(attrs.evolve(half, position=begun + 8, made=8, feedback=()))
        divided.learn(attrs.evolve(half, position=begun + 16, made=0))
    advice = "learn a decision when it is made (the last `made` of a batch), and feedback when it comes"
    require(_same(whole.score(request), divided.score(request)), f"the scores depend on how the log is divided into batches: {advice}")


def check_the_log_stays_as_it_is(subject: Subject) -> None:
    """``learn`` changes nothing in its experience, which is the log's own in a store in memory."""
    _skip_without_learning(subject)
    given, before = _experience(0), _experience(0)
    subject.reloaded(subject.trained).learn(given)
    require_same(before, given, "experience", "learn")


def check_learning_survives_a_save(subject: Subject) -> None:
    """Learning with a save and a load in between gives the same scores as learning without."""
    _skip_without_snapshots(subject)
    first, second = _experience(0), _experience(8)
    whole, halved = subject.reloaded(subject.trained), subject.reloaded(subject.trained)
    whole.learn(first)
    whole.learn(second)
    halved.learn(first)
    halved = subject.reloaded(halved)
    halved.learn(second)
    request = _request(subject)
    _require_shapes(whole.score(request), request)
    require(_same(whole.score(request), halved.score(request)), "a save and a load between two batches change the learned state")


def check_a_load_replaces_what_was_learned(subject: Subject) -> None:
    """Loading an earlier state removes everything learned since, as forgetting a user requires."""
    _skip_without_snapshots(subject)
    router, request = subject.reloaded(subject.trained), _request(subject)
    before, state = router.score(request), state_of(router)
    router.learn(_experience(0))
    restore(router, state)
    require(_same(router.score(request), before), "scores after a load depend on learning before it")
    require(state_of(router) == state, "a state saved after a load depends on learning before it")


def check_comparisons_do_not_stop_learning(subject: Subject) -> None:
    """A comparison, which has no quality, is learned or left out; an error would end learning for good."""
    _skip_without_learning(subject)
    router, experience = subject.reloaded(subject.trained), _experience(0)
    names = POOL.names
    compared = [
        Feedback(decision_id=decision.id, candidate=names[1], over=names[0], tie=n % 2 == 1) for n, decision in enumerate(experience.decisions)
    ]
    router.learn(attrs.evolve(experience, feedback=compared))
    _require_shapes(router.score(_request(subject)), _request(subject))


def _experience(first: int, size: int = 8) -> Experience:
    dataset = make_dataset(size, first=3000 + first)
    assert dataset.outcomes is not None
    decisions = [Decision(f"{first + row}", POOL.names[row % len(POOL)], 0.25, Preference()) for row in range(size)]
    quality = dataset.outcomes.known_quality
    feedback = [Feedback(decision_id=decision.id, quality=float(quality[row, row % len(POOL)])) for row, decision in enumerate(decisions)]
    return Experience(2 * (first + size), dataset.queries, estimates_of(dataset), decisions, (), feedback, made=size)


CHECKS = (*OPTION_CHECKS, *LEARNER_CHECKS, *checks_in(__name__))
