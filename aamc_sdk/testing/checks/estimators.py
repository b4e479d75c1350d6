"""Checks of estimators."""

from __future__ import annotations

import copy

import attrs
import numpy as np

from aamc_sdk.interfaces import Estimator
from aamc_sdk.testing.another_process import in_another_process
from aamc_sdk.testing.checks.components import (
    LEARNER_CHECKS,
    OPTION_CHECKS,
    THREADS,
    from_threads,
    require_no_global_changes,
    require_no_threads,
    require_same,
)
from aamc_sdk.testing.findings import checks_in, may_refuse, require, require_array, require_type, skip
from aamc_sdk.testing.sample_data import GROWN, ORDER, PERMUTED, POOL
from aamc_sdk.testing.subject import TRAIN_ROWS, Subject, equal, splits, watched
from aamc_sdk.types import Estimates, Floats


def _same(left: Estimates, right: Estimates, tolerance: float = 1e-5) -> bool:
    numbers = ("complexity", "categories", "tool_use", "embedding")
    return left.category_names == right.category_names and all(equal(getattr(left, n), getattr(right, n), tolerance) for n in numbers)


def _require_unit(name: str, values: Floats, shape: tuple[int, ...]) -> None:
    require_array(name, values, shape)
    wrong = values[(values < 0) | (values > 1)]
    require(not wrong.size, f"{name} must lie in 0 to 1, or be NaN where unknown, not {wrong[:1].tolist()}")


def _require_estimates(estimates: Estimates, rows: int) -> None:
    require_type(estimates, Estimates, "estimate must return aamc_sdk.Estimates")
    _require_unit("complexity", estimates.complexity, (rows,))
    _require_unit("tool_use", estimates.tool_use, (rows,))
    _require_unit("categories", estimates.categories, (rows, len(estimates.category_names)))
    sums = estimates.categories.sum(axis=1)
    one = np.isclose(sums, 1, atol=1e-4) | np.isnan(sums)
    require(not estimates.category_names or one.all(), "the categories' probabilities must sum to 1 in each row, or be NaN")
    if estimates.embedding is not None:
        require_array("embedding", estimates.embedding)
        shape = estimates.embedding.shape
        require(len(shape) == 2 and shape[0] == rows, f"embedding must be ({rows}, D), not {shape}")
        require(np.isfinite(estimates.embedding).all(), "embedding must be finite")


def check_shapes_and_ranges(subject: Subject) -> None:
    """Estimates have one row a query and values in their ranges; probabilities sum to 1."""
    estimates = subject.trained.estimate(subject.test_set.queries)
    _require_estimates(estimates, len(subject.test_set))
    require(estimates.fingerprint, "fingerprint must name the estimator and its weights")


def check_quality_for_any_pool(subject: Subject) -> None:
    """Expected quality, if any, follows the pool's order and covers unseen candidates."""
    estimates = subject.trained.estimate(subject.test_set.queries)
    straight = subject.trained.quality(estimates, POOL)
    if straight is None:
        skip("it predicts no quality (quality returns None)")
    rows = len(subject.test_set)
    _require_unit("quality", straight, (rows, len(POOL)))
    permuted = subject.trained.quality(estimates, PERMUTED)
    require(equal(permuted, straight[:, ORDER], 1e-5), "the order of the pool changes the expected quality")
    grown = subject.trained.quality(estimates, GROWN)
    _require_unit("quality of a grown pool", grown, (rows, len(POOL) + 1))


def check_answer_lengths_for_any_pool(subject: Subject) -> None:
    """Expected lengths of answers and fixed latencies, if any, are in their ranges, follow the pool's order and cover unseen candidates."""
    estimates = subject.trained.estimate(subject.test_set.queries)
    straight = subject.trained.answer_lengths(estimates, POOL)
    if straight is None:
        skip("it predicts no lengths of answers (answer_lengths returns None)")
    permuted = subject.trained.answer_lengths(estimates, PERMUTED)
    grown = subject.trained.answer_lengths(estimates, GROWN)
    for lengths, candidates in ((straight, len(POOL)), (grown, len(POOL) + 1)):
        shape = (len(subject.test_set), candidates)
        require(np.shape(lengths.tokens) == shape, f"expected tokens must be {shape}, not {np.shape(lengths.tokens)}")
        require(np.shape(lengths.mean_tokens) == shape[1:], f"mean_tokens must be {shape[1:]}, not {np.shape(lengths.mean_tokens)}")
        require(not (lengths.tokens < 0).any() and not np.isinf(lengths.tokens).any(), "expected tokens must be at least 0, or NaN where unknown")
        fixed = np.asarray(lengths.fixed_latency)
        require(fixed.shape in ((), shape[1:]), f"fixed latencies must be {shape[1:]} or one number, not {fixed.shape}")
        require(bool(((fixed >= 0) & (fixed <= 1)).all()), "fixed latencies must be shares from 0 to 1")
    require(equal(permuted.tokens, straight.tokens[:, ORDER], 1e-5), "the order of the pool changes the expected lengths of answers")
    before, after = (np.broadcast_to(lengths.fixed_latency, len(POOL)) for lengths in (straight, permuted))
    require(equal(after, before[ORDER], 1e-5), "the order of the pool changes the fixed latencies")


def check_out_of_fold_quality(subject: Subject) -> None:
    """Out-of-fold quality, if any, has one row for each training row, of models that have not seen it."""
    quality = subject.trained.out_of_fold()
    if quality is None:
        skip("out_of_fold returns None: if quality is learned, routers train on its predictions of rows that it has seen, and trust it too much")
    _require_unit("out_of_fold", quality, (TRAIN_ROWS, len(POOL)))
    seen = subject.trained.quality(subject.trained.estimate(subject.train_set.queries), POOL)
    advice = "for each fold of the training rows, predict by a model that was fitted on the others"
    require(not equal(quality, seen), f"out_of_fold predicts the training rows as quality does, from a model that was fitted on them: {advice}")


def check_a_batch_of_one_and_of_none(subject: Subject) -> None:
    """A query's estimates do not depend on its batch, so they can be cached; an empty batch works."""
    queries = subject.test_set.queries
    together = subject.trained.estimate(queries)
    for row, query in enumerate(queries):
        alone = subject.trained.estimate([query])
        require(_same(alone, together.take(slice(row, row + 1)), 1e-4), f"the estimates of query {row} alone differ from those in its batch")
    none = subject.trained.estimate([])
    _require_estimates(none, 0)
    quality = subject.trained.quality(none, POOL)
    require(quality is None or np.shape(quality) == (0, len(POOL)), "the quality of no queries must be [0, M]")


def check_its_threads_let_the_program_end(subject: Subject) -> None:
    """Training leaves no threads, as nothing closes an estimator, except daemon threads, which end with the program."""
    _ = subject.again
    subject.close_loops()
    require_no_threads([thread for thread in subject.started if not thread.daemon], "__init__ and train must end the threads that they start")


def check_the_same_seed_gives_the_same_result(subject: Subject) -> None:
    """Two trainings with the same seed give the same estimates."""
    queries = subject.test_set.queries
    require(_same(subject.trained.estimate(queries), subject.again.estimate(queries)), "two trainings with the same seed differ")


def check_save_and_load(subject: Subject) -> None:
    """An estimator that loads a saved state gives the same estimates, with the same fingerprint."""
    queries = subject.test_set.queries
    fresh = subject.reloaded(subject.trained)
    before, after = subject.trained.estimate(queries), fresh.estimate(queries)
    require(_same(before, after), "the loaded estimator gives other estimates")
    require(before.fingerprint == after.fingerprint, "the loaded estimator has another fingerprint")
    require(equal(subject.trained.quality(before, POOL), fresh.quality(after, POOL), 1e-5), "the loaded estimator gives another quality")


def _estimated(subject: Subject, estimator: Estimator) -> tuple[Estimates, Floats | None]:
    """Return the estimates of the test rows, and their expected quality."""
    estimates = estimator.estimate(subject.test_set.queries)
    return estimates, estimator.quality(estimates, POOL)


def _same_results(left: tuple[Estimates, Floats | None], right: tuple[Estimates, Floats | None]) -> bool:
    return _same(left[0], right[0]) and equal(left[1], right[1], 1e-5)


def check_another_process_estimates_the_same(subject: Subject) -> None:
    """A process that loads the saved state gives the same estimates and fingerprint, though ``hash()`` of a text and the order of sets differ."""
    here, there = _estimated(subject, subject.reloaded(subject.trained)), in_another_process(subject, subject.trained, _estimated)
    advice = "use hashlib.sha256 or zlib.crc32 in place of hash(), and sort sets"
    require(_same_results(here, there), f"another process estimates differently: {advice}")
    require(here[0].fingerprint == there[0].fingerprint, "another process has another fingerprint: derive it by hashlib, not by hash()")


def check_estimating_from_several_threads(subject: Subject) -> None:
    """Estimates from several threads at once equal those from one thread."""
    queries = subject.test_set.queries
    each = [[*queries[turn:], *queries[:turn]] for turn in range(THREADS)]
    for alone, rounds in zip(map(subject.trained.estimate, each), from_threads(subject.trained.estimate, each), strict=True):
        require(all(_same(alone, found) for found in rounds), "threads disturb each other")


def check_estimating_leaves_no_global_state(subject: Subject) -> None:
    """``estimate`` neither draws from global generators nor prints to standard output, which belongs to the command's own result."""
    with watched() as found:
        subject.trained.estimate(subject.test_set.queries)
    require_no_global_changes(found, "estimate")


def check_an_earlier_result_stays_as_it_is(subject: Subject) -> None:
    """No method changes the queries, or the estimates that were returned before, which caches and the log keep."""
    queries, given = ([*splits()[2].queries] for _ in range(2))
    estimates = subject.trained.estimate(given)
    require(given == queries, "estimate changes the list of queries; sort or cut a copy")
    before = copy.deepcopy(estimates)
    subject.trained.estimate(queries[::-1])
    require_same(before, estimates, "estimates", "the next call of estimate")
    for name in ("quality", "answer_lengths"):
        getattr(subject.trained, name)(estimates, POOL)
        require_same(before, estimates, "estimates", name)


def check_instances_share_nothing(subject: Subject) -> None:
    """Training another instance on other data changes no estimate of this one; other estimates have another fingerprint."""
    before = copy.deepcopy(_estimated(subject, subject.trained))
    other = _estimated(subject, subject.other)
    alike = _same_results(before, _estimated(subject, subject.trained))
    require(alike, "training one instance changes another one's estimates: keep what is learned in the instance, not in its class or module")
    distinct = _same_results(before, other) or before[0].fingerprint != other[0].fingerprint
    require(distinct, "two trainings give different estimates under one fingerprint: derive it from the weights, since results are cached under it")


def check_embeddings_of_texts(subject: Subject) -> None:
    """Embeddings, if any, have a finite row for each text, which does not depend on the other texts."""
    texts = ["A small model for easy questions.", "Strong in code."]
    together = subject.trained.embed(texts)
    if together is None:
        skip("it embeds no texts (embed returns None)")
    require_type(together, np.ndarray, "embed must return an array [N, D]")
    require(together.ndim == 2 and len(together) == len(texts), f"embed must return [N, D], not {np.shape(together)} for {len(texts)} texts")
    require(np.isfinite(together).all(), "embeddings of texts must be finite")
    require(equal(subject.trained.embed(texts[1:]), together[1:], 1e-4), "the embedding of a text alone differs from that in its batch")


def check_untrained_it_estimates_or_says_so(subject: Subject) -> None:
    """Without training, estimates and expected quality are in their ranges, NaN or None where unknown, or an AamcError has a message."""
    untrained, rows = subject.make(), len(subject.test_set)
    with may_refuse():
        estimates = untrained.estimate(subject.test_set.queries)
        _require_estimates(estimates, rows)
        quality = untrained.quality(estimates, POOL)
        if quality is not None:
            _require_unit("quality without training", quality, (rows, len(POOL)))


def check_training_with_missing_outcomes(subject: Subject) -> None:
    """Training on a table with missing cells, as most have, leaves the estimates and the expected quality of every candidate known."""
    estimates = subject.other.estimate(subject.test_set.queries)
    _require_estimates(estimates, len(subject.test_set))
    quality = subject.other.quality(estimates, POOL)
    known = quality is None or not np.isnan(quality).any()
    require(known, "a few unknown outcomes (NaN) among the training rows make the expected quality unknown: leave them out of the fit")


def check_training_without_outcomes(subject: Subject) -> None:
    """Training works on a dataset with labels but no outcomes."""
    training = subject.training()
    dataset, validation = (attrs.evolve(part, outcomes=None) for part in (subject.train_set, subject.validation_set))
    component = subject.make()
    component.train(attrs.evolve(training, dataset=dataset, validation=validation, request=None, validation_request=None, env=None))
    _require_estimates(component.estimate(subject.test_set.queries), len(subject.test_set))


CHECKS = (*OPTION_CHECKS, *LEARNER_CHECKS, *checks_in(__name__))
