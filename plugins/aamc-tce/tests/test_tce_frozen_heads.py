import attrs
import numpy as np
import pytest
import torch
from aamc_lexical.heads import UNLABELLED, Targets
from aamc_tce.config import TCEConfig
from aamc_tce.training.fine_tuning import as_arrays, multi_task_loss
from aamc_tce.training.frozen_heads import AdamW, HeadNetwork, Loss, TargetArrays, fit
from aamc_tce.training.training_schedule import HeadTraining

from aamc_sdk.interfaces import NoProgress

CONFIG = TCEConfig(lambda_c=0.5, lambda_cat=2.0, lambda_t=3.0, lambda_q=0.7, hidden=5)
WEIGHTS = {"complexity": 0.5, "category": 2.0, "tool_use": 3.0, "quality": 0.7}
NOTHING = Targets(np.full(8, np.nan), np.full(8, UNLABELLED), np.full(8, np.nan), np.full((8, 0), np.nan), (), ())


def random_targets(rows, seed=0, missing=0.3):
    """Return labels of every task, some of which are unknown."""
    generator = np.random.default_rng(seed)

    def known(values):
        return np.where(generator.random(values.shape) < missing, np.nan, values)

    category = np.where(generator.random(rows) < missing, UNLABELLED, generator.integers(3, size=rows))
    shares = (known(generator.random(rows)), known(generator.integers(2, size=rows).astype(float)), known(generator.random((rows, 2))))
    return Targets(shares[0], category, shares[1], shares[2], ("a", "b", "c"), ("m", "n"))


def torch_loss(logits, targets):
    """Return the loss of logits whose columns are complexity, tool use, quality and categories, as fine-tuning computes it."""
    sizes = targets.head_sizes()
    tasks = [task for task in ("complexity", "tool_use", "quality", "category") if task in sizes]
    parts = dict(zip(tasks, logits.split([sizes[task] for task in tasks], dim=1), strict=True))
    return multi_task_loss(parts, {task: torch.as_tensor(array) for task, array in as_arrays(targets).items()}, WEIGHTS)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_loss_and_gradients_are_those_of_torch(missing):
    targets = random_targets(8, missing=missing)
    generator = np.random.default_rng(1)
    x = generator.normal(size=(8, 4)).astype(np.float32)
    mask = np.where(generator.random((8, 5)) < 0.3, 0, 1.5).astype(np.float32)
    network, sizes = HeadNetwork(4, 5, 7, generator), targets.head_sizes()
    value = network.loss_and_gradient(x, mask, TargetArrays.of(targets, sizes), Loss(sizes, CONFIG))
    w, b, u, a = parameters = [torch.tensor(part, requires_grad=True) for part in network.parts(network.vector)]
    hidden = torch.relu(torch.as_tensor(x) @ w.T + b) * torch.as_tensor(mask)
    expected = torch_loss(hidden @ u.T + a, targets)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-6)
    for found, parameter in zip(network.parts(network.gradient), parameters, strict=True):
        assert np.allclose(found, parameter.grad, atol=1e-7)


def test_updates_are_those_of_torch():
    generator = np.random.default_rng(0)
    vector = generator.normal(size=6).astype(np.float32)
    parameter = torch.nn.Parameter(torch.tensor(vector))
    torchs, ours = torch.optim.AdamW([parameter], weight_decay=0.1), AdamW(0.1, np.ones(6, bool))
    for rate in (0.1, 0.2, 0.05):
        gradient = generator.normal(size=6).astype(np.float32)
        parameter.grad, torchs.param_groups[0]["lr"] = torch.tensor(gradient), rate
        torchs.step()
        ours.step(vector, gradient, rate)
    assert np.allclose(vector, parameter.detach(), rtol=1e-5)


def test_biases_have_no_weight_decay():
    network = HeadNetwork(4, 5, 7, np.random.default_rng(0))
    w, b, u, a = network.parts(network.are_weights())
    assert w.all()
    assert u.all()
    assert not b.any()
    assert not a.any()
    vector = np.ones(2, np.float32)
    AdamW(0.5, np.array([True, False])).step(vector, np.zeros(2, np.float32), 0.1)
    assert vector.tolist() == pytest.approx([0.95, 1.0])


@pytest.mark.parametrize(
    "known",
    [
        {"complexity": np.linspace(0, 1, 8)},
        {"category": np.arange(8) % 2, "category_names": ("a", "b")},
        {"quality": np.linspace(0, 1, 16).reshape(8, 2), "candidates": ("m", "n")},
    ],
)
def test_one_task_alone_is_learned(known):
    targets = attrs.evolve(NOTHING, **known)
    sizes = targets.head_sizes()
    logits = np.random.default_rng(0).normal(size=(8, sum(sizes.values()))).astype(np.float32)
    assert Loss(sizes, CONFIG)(logits, TargetArrays.of(targets, sizes))[0] == pytest.approx(
        torch_loss(torch.tensor(logits), targets).item(), rel=1e-6
    )


def test_without_a_label_in_the_batch_nothing_is_learned():
    targets = random_targets(8)
    sizes = targets.head_sizes()
    unknown = attrs.evolve(NOTHING, quality=np.full((8, 2), np.nan))
    network = HeadNetwork(4, 5, 7, np.random.default_rng(0))
    value = network.loss_and_gradient(np.ones((8, 4), np.float32), np.ones((8, 5), np.float32), TargetArrays.of(unknown, sizes), Loss(sizes, CONFIG))
    assert value == 0
    assert not network.gradient.any()


def test_the_heads_are_those_of_the_epoch_with_the_least_validation_loss():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(80, 4)).astype(np.float32)
    held_out = (features[64:], random_targets(16, seed=2, missing=0))
    config = attrs.evolve(CONFIG, head_learning_rate=0.05, epochs=12, patience=12, dropout=0.0)
    targets = random_targets(64, seed=1)
    job = HeadTraining(config=config, examples=features[:64], targets=targets, validation=held_out, seed=0, progress=NoProgress(), name="heads")
    heads, curve = fit(job)
    losses = [point["validation_loss"] for point in curve]
    assert losses.index(min(losses)) < len(losses) - 1
    outputs = heads(held_out[0])
    shares = np.column_stack((outputs.complexity, outputs.tool_use, outputs.quality))
    logits = torch.tensor(np.hstack((np.log(shares / (1 - shares)), np.log(outputs.categories))), dtype=torch.float32)
    assert torch_loss(logits, held_out[1]).item() == pytest.approx(min(losses), rel=1e-5)
