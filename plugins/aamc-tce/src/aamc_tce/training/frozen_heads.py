r"""Training of heads on fixed embeddings, in numpy with manual gradients.

In torch a step of so small a network is mostly overhead; numpy takes a quarter of the time, and cross-fitting trains eleven times.
For an embedding :math:`x`, dropout masks :math:`m` and :math:`m'`, and all heads in one matrix, the logits are

.. math:: h = m' \odot \mathrm{relu}(W (m \odot x) + b), \qquad z = U h + a

:mod:`aamc_tce.training.fine_tuning` does the same in torch for fine-tuning; a test compares the gradients.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
from aamc_lexical.heads import UNLABELLED, HeadWeights, Targets
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # threadpoolctl ships no types

from aamc_tce.config import TCEConfig
from aamc_tce.training.training_schedule import MAX_GRADIENT_NORM, EarlyStopping, HeadTraining, learning_rate_scale

Array = NDArray[np.float32]
SIGMOIDS = ("complexity", "tool_use", "quality")
"""The tasks with sigmoid outputs; the category has a softmax."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""AdamW's decay rates of the first and second moment, and the constant that avoids division by zero."""


@attrs.frozen(eq=False)
class TargetArrays:
    """The targets of N rows with one column per logit: S sigmoids, then C categories.

    Attributes:
        target: The labels, ``[N, S + C]``, one-hot for the category; zero where unknown.
        known: 1 where there is a label and 0 elsewhere, ``[N, S + C]``.
    """

    target: Array
    known: Array

    @classmethod
    def of(cls, targets: Targets, sizes: Mapping[str, int]) -> TargetArrays:
        """Return the labels of the tasks that have a head."""
        values = {"complexity": targets.complexity[:, None], "tool_use": targets.tool_use[:, None], "quality": targets.quality}
        shares = np.hstack([np.empty((len(targets), 0)), *(values[task] for task in SIGMOIDS if task in sizes)])
        categories = np.arange(sizes.get("category", 0))
        labelled = np.tile(targets.category[:, None] != UNLABELLED, len(categories))
        target = np.hstack((np.nan_to_num(shares), targets.category[:, None] == categories))
        return cls(target.astype(np.float32), np.hstack((np.isfinite(shares), labelled)).astype(np.float32))

    def take(self, rows: NDArray[np.intp]) -> TargetArrays:
        """Return the labels of rows."""
        return TargetArrays(self.target[rows], self.known[rows])


class Loss:
    """The weighted sum of the tasks' mean cross entropies over the known labels; ``sizes`` are the outputs of each head."""

    def __init__(self, sizes: Mapping[str, int], config: TCEConfig) -> None:
        weights = {"complexity": config.lambda_c, "tool_use": config.lambda_t, "quality": config.lambda_q}
        tasks = [task for task in SIGMOIDS for _ in range(sizes.get(task, 0))]
        categories = [f"category {number}" for number in range(sizes.get("category", 0))]  # each counts the rows by itself
        columns = np.array([*tasks, *categories])
        self._sigmoids = len(tasks)
        self._weights = np.array([weights.get(task, config.lambda_cat) for task in columns], dtype=np.float32)
        self._same_task = (columns[:, None] == columns).astype(np.float32)

    def __call__(self, logits: Array, labels: TargetArrays) -> tuple[float, Array]:
        """Return the loss of logits ``[B, S + C]`` and its gradient."""
        counts = labels.known.sum(axis=0) @ self._same_task
        weights = labels.known * (self._weights / np.maximum(counts, 1))
        shares, categories = logits[:, : self._sigmoids], logits[:, self._sigmoids :]
        log_yes = -np.logaddexp(0, -shares)
        log_category = categories - np.logaddexp.reduce(categories, axis=1, keepdims=True)
        log_probability = np.hstack((log_yes, log_category))
        log_likelihood = labels.target * log_probability
        log_likelihood[:, : self._sigmoids] += (1 - labels.target[:, : self._sigmoids]) * (log_yes - shares)
        return -float((weights * log_likelihood).sum()), weights * (np.exp(log_probability) - labels.target)


class HeadNetwork:
    """The parameters of all heads in one vector, and their gradient in another, so that one operation updates all.

    Args:
        width: Width of the embedding.
        hidden: Units of the hidden layer.
        outputs: Number of logits.
        generator: Draws the initial parameters from torch's distribution for linear layers.
    """

    def __init__(self, width: int, hidden: int, outputs: int, generator: np.random.Generator) -> None:
        self._shape = (width, hidden, outputs)
        layers = ((hidden * (width + 1), width), (outputs * (hidden + 1), hidden))
        self.vector = np.concatenate([generator.uniform(-(fan**-0.5), fan**-0.5, size) for size, fan in layers]).astype(np.float32)
        self.gradient = np.zeros_like(self.vector)
        self._parameters, self._gradients = self.parts(self.vector), self.parts(self.gradient)

    def parts(self, vector: Array) -> tuple[Array, Array, Array, Array]:
        """Return views of a vector: W ``[H, D]``, b ``[H]``, U ``[O, H]`` and a ``[O]``."""
        width, hidden, outputs = self._shape
        w, b, u, a = np.split(vector, np.cumsum((hidden * width, hidden, outputs * hidden)))
        return w.reshape(hidden, width), b, u.reshape(outputs, hidden), a

    def are_weights(self) -> NDArray[np.bool_]:
        """Return whether each number of the vector is a weight, not a bias."""
        w, b, u, a = self._parameters
        return np.repeat((True, False, True, False), [part.size for part in (w, b, u, a)])

    def __call__(self, x: Array) -> Array:
        """Return the logits ``[B, O]`` of embeddings, without dropout."""
        w, b, u, a = self._parameters
        return np.asarray(np.maximum(x @ w.T + b, 0) @ u.T + a)

    def loss_and_gradient(self, x: Array, mask: Array, labels: TargetArrays, loss: Loss) -> float:
        """Return the loss of embeddings ``[B, D]`` with dropout mask ``[B, H]``, and set :attr:`gradient`."""
        w, b, u, a = self._parameters
        hidden: Array = x @ w.T + b
        mask = np.where(hidden > 0, mask, 0)
        hidden *= mask
        value, of_logits = loss(hidden @ u.T + a, labels)
        of_w, of_b, of_u, of_a = self._gradients
        of_hidden = (of_logits @ u) * mask
        np.matmul(of_hidden.T, x, out=of_w)
        np.matmul(of_logits.T, hidden, out=of_u)
        of_hidden.sum(axis=0, out=of_b)
        of_logits.sum(axis=0, out=of_a)
        return value


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019) on one vector, whose numbers ``decayed`` ``[P]`` have it."""

    def __init__(self, weight_decay: float, decayed: NDArray[np.bool_]) -> None:
        self._weight_decay, self._decayed = weight_decay, decayed
        self._steps = 0
        self._mean, self._square = np.zeros((2, len(decayed)), dtype=np.float32)

    def step(self, vector: Array, gradient: Array, rate: float) -> None:
        """Update a vector in place."""
        self._steps += 1
        self._mean += (1 - BETA_1) * (gradient - self._mean)
        self._square += (1 - BETA_2) * (gradient * gradient - self._square)
        scale = np.sqrt(self._square)
        scale *= (1 - BETA_2**self._steps) ** -0.5
        scale += EPSILON
        vector *= np.where(self._decayed, np.float32(1 - rate * self._weight_decay), np.float32(1))
        vector -= rate / (1 - BETA_1**self._steps) * self._mean / scale


def fit(job: HeadTraining[Array]) -> tuple[HeadWeights, list[dict[str, float]]]:
    """Train on one core, which is as fast as several; return the heads of the best epoch and the losses of each epoch."""
    sizes = job.targets.head_sizes()
    if not sizes:
        return HeadWeights({}), []
    loss, labels, stopping = Loss(sizes, job.config), TargetArrays.of(job.targets, sizes), EarlyStopping()
    validation = None if job.validation is None else (job.validation[0], TargetArrays.of(job.validation[1], sizes))
    network = HeadNetwork(job.examples.shape[1], job.config.hidden, sum(sizes.values()), np.random.default_rng(job.seed))
    adam, best = AdamW(job.config.weight_decay, network.are_weights()), network.vector.copy()
    job.progress.start(job.name, job.config.epochs)
    with threadpool_limits(1), np.errstate(invalid="ignore"):  # OpenBLAS may raise it for unused lanes of a narrow matrix
        while stopping.continues(job.config):
            trained = _epoch(job, stopping.epoch, network, labels, loss, adam)
            held_out = None if validation is None else loss(network(validation[0]), validation[1])[0]
            if stopping.add(trained, held_out):
                best = network.vector.copy()
            job.progress.advance(1, **stopping.curve[-1])
    return _by_task(network.parts(best), sizes), stopping.curve


def _epoch(job: HeadTraining[Array], epoch: int, network: HeadNetwork, labels: TargetArrays, loss: Loss, adam: AdamW) -> float:
    """Train for one epoch; return the mean loss."""
    config, rows, generator = job.config, len(job.examples), np.random.default_rng([job.seed, epoch])
    order = generator.permutation(rows)
    size, total = config.batch_size * config.gradient_accumulation, 0.0

    def mask(width: int) -> Array:
        return (generator.random((len(batch), width), dtype=np.float32) >= config.dropout) * np.float32(1 / (1 - config.dropout))

    for start in range(0, rows, size):
        batch = order[start : start + size]
        x = job.examples[batch] * mask(job.examples.shape[1])
        total += len(batch) * network.loss_and_gradient(x, mask(config.hidden), labels.take(batch), loss)
        norm = float(np.sqrt(network.gradient @ network.gradient))
        network.gradient *= min(MAX_GRADIENT_NORM / max(norm, EPSILON), 1.0)
        rate = config.head_learning_rate * learning_rate_scale((epoch * rows + start) / (config.epochs * rows))
        adam.step(network.vector, network.gradient, rate)
    return total / rows


def _by_task(parts: tuple[Array, Array, Array, Array], sizes: Mapping[str, int]) -> HeadWeights:
    """Return the parameters by task."""
    w, b, u, a = parts
    arrays, end = {"hidden.weight": w, "hidden.bias": b}, 0
    for task in (task for task in (*SIGMOIDS, "category") if task in sizes):
        begin, end = end, end + sizes[task]
        arrays |= {f"{task}.weight": u[begin:end], f"{task}.bias": a[begin:end]}
    return HeadWeights(arrays)
