import shutil

import attrs
import numpy as np
import pytest
import torch
from aamc_tce.training import fine_tuning as module
from transformers import AutoModel

from aamc_sdk import Training
from aamc_sdk.errors import AamcError, CheckpointError
from aamc_sdk.interfaces import NoProgress

OPTIONS = {"fine_tune": True, "learning_rate": 3e-3, "epochs": 4, "folds": 2, "gradient_accumulation": 2, "batch_size": 8, "patience": 4}


class StopAfter(NoProgress):
    """Interrupts the training when so many epochs are done."""

    def __init__(self, epochs):
        self.left = epochs

    def advance(self, steps=1, **figures):
        if "loss" in figures:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def test_encoder_and_heads_learn_together(make_estimator, make_dataset):
    estimator = make_estimator(**OPTIONS)
    metrics = estimator.train(Training(dataset=make_dataset(150, seed=1), validation=make_dataset(60, seed=2)))
    losses = [point["loss"] for point in metrics["curve"]]
    assert losses[-1] < 0.8 * losses[0]
    assert metrics["validation_category_accuracy"] > 0.9
    assert estimator.out_of_fold().shape == (150, 3)


def test_fine_tuning_changes_the_encoder_and_saves_it(make_estimator, make_dataset, pool, tmp_path):
    dataset = make_dataset(60)
    estimator = make_estimator(**OPTIONS)
    estimator.train(Training(dataset=dataset))
    estimator.save(tmp_path)
    loaded = make_estimator(**OPTIONS)
    loaded.load(tmp_path)
    before, after = estimator.estimate(dataset.queries), loaded.estimate(dataset.queries)
    assert np.array_equal(before.embedding, after.embedding)
    assert np.array_equal(estimator.quality(before, pool), loaded.quality(after, pool))
    frozen = make_estimator(layers=1)
    frozen.train(Training(dataset=dataset))
    assert frozen._ready_encoder().fingerprint != estimator._ready_encoder().fingerprint


@pytest.mark.parametrize("epochs", [2, 5, 9])
def test_a_stopped_training_goes_on_to_the_same_result(make_estimator, make_dataset, pool, tmp_path, epochs):
    dataset, validation = make_dataset(60, seed=1), make_dataset(20, seed=2)
    whole = make_estimator(**OPTIONS)
    expected = whole.train(Training(dataset=dataset, validation=validation))
    stopped = make_estimator(**OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(Training(dataset=dataset, validation=validation, folder=tmp_path, progress=StopAfter(epochs)))
    resumed = make_estimator(**OPTIONS)
    metrics = resumed.train(Training(dataset=dataset, validation=validation, folder=tmp_path, resume=True))
    assert metrics == expected
    assert np.array_equal(resumed.out_of_fold(), whole.out_of_fold())
    assert not list(tmp_path.iterdir())


def test_a_damaged_state_is_a_checkpoint_error(make_estimator, make_dataset, tmp_path):
    dataset = make_dataset(40)
    with pytest.raises(KeyboardInterrupt):
        make_estimator(**OPTIONS).train(Training(dataset=dataset, folder=tmp_path, progress=StopAfter(1)))
    (state,) = tmp_path.rglob("*.safetensors")
    whole = state.read_bytes()
    for damaged in (whole[:1000], whole[:-64] + bytes(64)):  # cut off, or zeroed
        state.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="without --resume"):
            make_estimator(**OPTIONS).train(Training(dataset=dataset, folder=tmp_path, resume=True))


@pytest.mark.parametrize("validated", [False, True])
def test_a_training_whose_loss_is_not_finite_is_an_error(make_estimator, make_dataset, validated):
    estimator, validation = make_estimator(**OPTIONS | {"learning_rate": 1e30}), make_dataset(20, seed=2) if validated else None
    with pytest.raises(AamcError, match=r"^the loss in epoch \d of the training is not a finite number; lower estimator.learning_rate"):
        estimator.train(Training(dataset=make_dataset(40), validation=validation))


def test_training_stops_when_validation_no_longer_gets_better(make_estimator, make_dataset):
    options = {"epochs": 60, "patience": 2, "head_learning_rate": 0.05}
    metrics = make_estimator(**options).train(Training(dataset=make_dataset(60, seed=1), validation=make_dataset(30, seed=2)))
    losses = [point["validation_loss"] for point in metrics["curve"]]
    assert len(losses) < 60
    assert int(np.argmin(losses)) == len(losses) - 3


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_too(make_estimator, make_dataset, precision):
    metrics = make_estimator(**OPTIONS, mixed_precision=precision).train(Training(dataset=make_dataset(60, outcomes=False)))
    assert metrics["curve"][-1]["loss"] < metrics["curve"][0]["loss"]


@pytest.mark.parametrize(
    ("choice", "device", "native", "expected"),
    [
        ("auto", "cpu", True, None),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float16),
        ("never", "cuda", True, None),
        ("bfloat16", "cuda", False, torch.bfloat16),
        ("float16", "cpu", True, torch.float16),
    ],
)
def test_a_gpu_that_only_emulates_bfloat16_trains_in_float16(monkeypatch, choice, device, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert module.training_precision(choice, torch.device(device)) == expected


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_an_encoder_stored_in_half_precision_is_trained_in_full(make_estimator, make_dataset, tiny_distilbert, tmp_path, stored):
    found, dataset = [], make_dataset(40, outcomes=False)
    for name, kept in (("half", stored), ("full", torch.float32)):
        shutil.copytree(tiny_distilbert, tmp_path / name)
        AutoModel.from_pretrained(tiny_distilbert).to(stored).to(kept).save_pretrained(tmp_path / name)
        estimator = make_estimator(**OPTIONS, encoder=str(tmp_path / name))
        found.append((estimator.train(Training(dataset=dataset)), estimator.estimate(dataset.queries).embedding.tolist()))
        estimator.save(tmp_path / f"trained {name}")
    loaded = make_estimator(**OPTIONS, encoder=str(tmp_path / "half"))
    loaded.load(tmp_path / "trained half")
    found.append((found[1][0], loaded.estimate(dataset.queries).embedding.tolist()))
    assert found == [found[1]] * 3


def test_biases_and_layer_norms_have_no_weight_decay(make_estimator, make_dataset, monkeypatch):
    groups = []

    class Recorded(torch.optim.AdamW):
        def __init__(self, parameters, **options):
            groups.extend(parameters)
            super().__init__(groups, **options)

    monkeypatch.setattr(torch.optim, "AdamW", Recorded)
    make_estimator(**OPTIONS, weight_decay=0.5).train(Training(dataset=make_dataset(20, outcomes=False)))
    dimensions = {group["weight_decay"]: {parameter.dim() for parameter in group["params"]} for group in groups}
    assert dimensions == {0.5: {2}, 0.0: {1}}


def test_the_scale_of_losses_in_float16_is_resumed(make_estimator, make_dataset, tmp_path):
    options, training = OPTIONS | {"mixed_precision": "float16"}, Training(dataset=make_dataset(40, outcomes=False), folder=tmp_path)
    expected = make_estimator(**options).train(training)
    with pytest.raises(KeyboardInterrupt):
        make_estimator(**options).train(attrs.evolve(training, progress=StopAfter(2)))
    assert make_estimator(**options).train(attrs.evolve(training, resume=True)) == expected


def test_accumulated_gradients_are_those_of_one_large_batch(make_estimator, make_dataset):
    dataset = make_dataset(64, outcomes=False)
    curves = [
        make_estimator(dropout=0.0, epochs=2, batch_size=size, gradient_accumulation=parts).train(Training(dataset=dataset))["curve"]
        for size, parts in ((32, 1), (8, 4))
    ]
    assert [point["loss"] for point in curves[1]] == pytest.approx([point["loss"] for point in curves[0]], rel=1e-5)


def test_no_label_no_gradient():
    from aamc_tce.training.fine_tuning import multi_task_loss

    logits = {"complexity": torch.zeros(3, 1, requires_grad=True), "quality": torch.zeros(3, 2, requires_grad=True)}
    nan = float("nan")
    targets = {"complexity": torch.tensor([[nan], [nan], [nan]]), "quality": torch.tensor([[1.0, nan], [nan, nan], [nan, 0.0]])}
    multi_task_loss(logits, targets, {"complexity": 1.0, "quality": 2.0}).backward()
    assert logits["complexity"].grad.abs().sum() == 0
    # the mean over two known cells, each with sigmoid(0) - label, times the weight
    assert torch.equal(logits["quality"].grad, torch.tensor([[-0.5, 0.0], [0.0, 0.0], [0.0, 0.5]]))


def test_heads_in_numpy_are_the_heads_of_torch():
    from torch.nn import functional

    torch.manual_seed(0)
    heads = module.Heads(5, 7, {"complexity": 1, "category": 3, "tool_use": 1, "quality": 2}, dropout=0.5).eval()
    embedding = torch.randn(4, 5)
    with torch.inference_mode():
        logits = heads(embedding)
    outputs = heads.weights()(embedding.numpy())
    assert np.allclose(outputs.complexity, torch.sigmoid(logits["complexity"][:, 0]), atol=1e-6)
    assert np.allclose(outputs.categories, functional.softmax(logits["category"], dim=1), atol=1e-6)
    assert np.allclose(outputs.tool_use, torch.sigmoid(logits["tool_use"][:, 0]), atol=1e-6)
    assert np.allclose(outputs.quality, torch.sigmoid(logits["quality"]), atol=1e-6)
