import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from aamc_tce.config import TCEConfig
from aamc_tce.encoders import onnx_encoder, onnx_export, runtime
from aamc_tce.encoders.onnx_encoder import GRAPH, MANIFEST, TOKENIZER, OnnxEncoder
from aamc_tce.encoders.onnx_export import export
from aamc_tce.encoders.runtime import serving_embedder, uses_graph
from aamc_tce.encoders.torch_encoder import TorchEncoder

from aamc_sdk import Query, Training
from aamc_sdk.errors import AamcError, CheckpointError, ConfigError
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.storage import write_bytes

CPU = torch.device("cpu")
TEXTS = ["sort a list", "sum the number please now", "", "a poem of the river " * 20]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AAMC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def encoder(tiny_distilbert):
    return TorchEncoder(tiny_distilbert, layers=4, max_length=16, device=CPU)


@pytest.fixture(scope="module")
def graphs(encoder, tmp_path_factory):
    """Return the folders of the tiny encoder's graphs, by runtime."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("onnx", "onnx-int8")}
    for name, folder in folders.items():
        export(encoder, name, folder)
    return folders


@pytest.fixture
def copied_exports(graphs, monkeypatch):
    """Let every export copy a graph that was exported before, and return how often it was asked to."""
    asked = []

    def copy(encoder, name, folder):
        asked.append(name)
        for path in graphs[name].iterdir():
            write_bytes(folder / path.name, path.read_bytes())

    monkeypatch.setattr(onnx_export, "export", copy)
    return asked


@pytest.fixture(scope="module")
def exported(make_estimator, make_dataset, tmp_path_factory):
    """Return a trained estimator and the folder of its checkpoint, with a graph in it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    estimator = make_estimator()
    estimator.train(Training(dataset=make_dataset(60)))
    estimator.save(folder)
    estimator.export(folder, "onnx")
    return estimator, folder


def cosine(left, right):
    return (left * right).sum(axis=1) / np.maximum(np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1), 1e-12)


def test_a_graph_gives_the_numbers_of_torch(encoder, graphs):
    graph = OnnxEncoder(graphs["onnx"])
    assert graph.fingerprint == encoder.fingerprint
    assert graph.tokenize(TEXTS) == encoder.tokenize(TEXTS)
    assert np.allclose(graph.embed(TEXTS), encoder.embed(TEXTS), rtol=0, atol=2**-11)  # half a step of what is kept, at 1


def test_int8_is_near_but_of_another_fingerprint(encoder, graphs):
    graph = OnnxEncoder(graphs["onnx-int8"])
    assert graph.fingerprint == f"{encoder.fingerprint}-int8"
    assert (cosine(graph.embed(TEXTS[:2]), encoder.embed(TEXTS[:2])) > 0.98).all()
    assert (graphs["onnx-int8"] / GRAPH).stat().st_size < (graphs["onnx"] / GRAPH).stat().st_size


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_a_text_has_one_embedding_whatever_it_comes_with(graphs, name):
    texts = [f"{text} {n}" for n, text in enumerate(TEXTS * 10)]
    together = OnnxEncoder(graphs[name]).embed(texts)
    alone = OnnxEncoder(graphs[name])
    assert np.array_equal(np.concatenate([alone.embed([text]) for text in texts[:8]]), together[:8])


def cores_given(monkeypatch):
    """Return a list that grows by the cores of each session that is made."""
    given, made = [], onnx_encoder.open_session
    monkeypatch.setattr(onnx_encoder, "open_session", lambda graph, folder, cores: given.append(cores) or made(graph, folder, cores))
    return given


def test_a_small_graph_keeps_to_one_core(graphs, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    given = cores_given(monkeypatch)
    encoder = OnnxEncoder(graphs["onnx"])
    encoder.embed([f"text number {number}" for number in range(40)])
    encoder.embed(["another text"])
    assert given == [1]


def test_a_served_text_has_several_cores_and_a_datasets_texts_one_each(graphs, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(onnx_encoder, "SHARED_GRAPH_BYTES", 0)
    given = cores_given(monkeypatch)
    encoder = OnnxEncoder(graphs["onnx"])
    texts = [f"text number {number}" for number in range(40)]
    alone = np.concatenate([encoder.embed([text]) for text in texts[:5]])
    together = OnnxEncoder(graphs["onnx"]).embed(texts)
    assert given == [2, 2, 1]
    assert alone == pytest.approx(together[:5], abs=1e-3)


def test_two_datasets_at_once_leave_served_texts_their_cores(graphs, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(onnx_encoder, "SHARED_GRAPH_BYTES", 0)
    encoder, (first_began, second_began, first_ended) = OnnxEncoder(graphs["onnx"]), (threading.Event() for _ in range(3))

    class Waiting(NoProgress):
        def __init__(self, began, awaited):
            self.began, self.awaited = began, awaited

        def advance(self, steps=1, **figures):
            self.began.set()
            self.awaited.wait(10)

    def embed(name, *events):
        encoder.embed([f"{name} text number {number}" for number in range(40)], Waiting(*events))

    first = threading.Thread(target=embed, args=("first", first_began, second_began))
    second = threading.Thread(target=embed, args=("second", second_began, first_ended))
    first.start()
    first_began.wait()
    second.start()
    assert second_began.wait(10)  # neither waits for the other
    first.join()
    first_ended.set()
    second.join()
    assert encoder._session() is encoder._sessions[2]


def test_export_leaves_the_encoder_as_it_was(encoder, graphs):
    assert set(graphs) == {"onnx", "onnx-int8"}
    assert encoder.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", [GRAPH, TOKENIZER, MANIFEST])
def test_a_damaged_or_missing_file_is_a_checkpoint_error(encoder, graphs, tmp_path, name):
    for path in graphs["onnx"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        OnnxEncoder(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match="missing"):
        OnnxEncoder(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match=f"{name} cannot be read: Is a directory"):
        OnnxEncoder(tmp_path)


def test_what_is_no_graph_is_refused_even_where_it_is_as_it_was_written(graphs, tmp_path):
    about = json.loads((graphs["onnx"] / MANIFEST).read_text())
    (tmp_path / TOKENIZER).write_bytes((graphs["onnx"] / TOKENIZER).read_bytes())
    (tmp_path / GRAPH).write_bytes(b"")
    about["sha256"][GRAPH] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of nothing
    (tmp_path / MANIFEST).write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="cannot be used"):
        OnnxEncoder(tmp_path)


def test_without_onnxruntime_the_way_out_is_named(graphs, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"aamc-tce\[onnx\].*runtime=torch"):
        OnnxEncoder(graphs["onnx"])


def test_without_the_exporter_the_way_out_is_named_and_auto_takes_torch(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "REQUIRED_LIBRARIES", ("onnxruntime", "no_such_exporter"))
    with pytest.raises(ConfigError, match=r"needs no_such_exporter: pip install 'aamc-tce\[onnx\]'"):
        export(encoder, "onnx", tmp_path)
    monkeypatch.setattr(runtime, "REQUIRED_LIBRARIES", ("no_such_exporter",))
    assert not uses_graph(TCEConfig(), "cpu")


def test_a_model_that_the_exporter_does_not_know_is_one_line(encoder, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise torch.onnx.errors.OnnxExporterError("no such operator\nand much more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(AamcError, match=r"cannot be exported to ONNX \(no such operator\); set estimator.runtime=torch"):
        export(encoder, "onnx", tmp_path)
    assert encoder.model.config._attn_implementation == "sdpa"


def test_weights_that_onnxruntime_does_not_compute_are_refused_at_the_export(tiny_distilbert, tmp_path):
    encoder = TorchEncoder(tiny_distilbert, layers=4, max_length=16, device=CPU)
    encoder.model.to(torch.bfloat16)
    with pytest.raises(AamcError, match=r"exported to ONNX \(.* in bfloat16\); set estimator.runtime=torch, or save it in float32"):
        export(encoder, "onnx", tmp_path)
    assert not list(tmp_path.iterdir())


def test_auto_is_a_graph_for_the_bundled_encoder_on_a_cpu():
    assert uses_graph(TCEConfig(), "cpu")
    assert not uses_graph(TCEConfig(), "cuda")
    assert not uses_graph(TCEConfig(encoder="bert-tiny"), "cpu")
    assert not uses_graph(TCEConfig(fine_tune=True), "cpu")
    assert uses_graph(TCEConfig(encoder="bert-tiny", runtime="onnx"), "cuda")
    assert not uses_graph(TCEConfig(runtime="torch"), "cpu")


def test_a_graph_is_exported_once_for_each_precision(encoder, copied_exports):
    for name in ("onnx", "onnx-int8", "onnx", "onnx-int8"):
        assert isinstance(serving_embedder(encoder, TCEConfig(runtime=name)), OnnxEncoder)
    assert copied_exports == ["onnx", "onnx-int8"]


def test_a_damaged_kept_graph_is_exported_again(encoder, copied_exports, tmp_path):
    serving_embedder(encoder, TCEConfig(runtime="onnx"))
    (graph,) = tmp_path.rglob(GRAPH)
    graph.write_bytes(b"damaged")
    assert isinstance(serving_embedder(encoder, TCEConfig(runtime="onnx")), OnnxEncoder)
    assert copied_exports == ["onnx", "onnx"]


def test_a_folder_that_cannot_be_written_costs_time_only(encoder, copied_exports, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AAMC_CACHE", str(tmp_path / "file"))
    assert np.isfinite(serving_embedder(encoder, TCEConfig(runtime="onnx")).embed(TEXTS)).all()


def test_heads_learn_on_the_precision_that_serves(make_estimator, make_dataset, pool, copied_exports, tmp_path):
    train, validation, test = make_dataset(240, seed=1), make_dataset(60, seed=2), make_dataset(120, seed=3)
    brier = {}
    for name in ("torch", "onnx-int8"):
        estimator = make_estimator(runtime=name)
        metrics = estimator.train(Training(dataset=train, validation=validation))
        assert metrics["validation_category_accuracy"] >= 0.9
        brier[name] = np.mean((estimator.quality(estimator.estimate(test.queries), pool) - test.outcomes.quality) ** 2)
    assert brier["onnx-int8"] == pytest.approx(brier["torch"], abs=0.01)
    estimator.save(tmp_path)
    loaded = make_estimator(runtime="onnx-int8")
    loaded.load(tmp_path)
    assert np.array_equal(loaded.estimate(test.queries).embedding, estimator.estimate(test.queries).embedding)
    assert copied_exports == ["onnx-int8"]


def test_int8_is_refused_for_heads_that_learn_with_the_encoder():
    with pytest.raises(ConfigError, match="use runtime: onnx"):
        TCEConfig(fine_tune=True, runtime="onnx-int8")


SERVED_WITHOUT_TORCH = """
import json, sys
for name in ("torch", "transformers", "huggingface_hub", "sklearn", "onnx", "onnxscript"):
    sys.modules[name] = None
from pathlib import Path
from aamc_sdk import Query
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Services
from aamc_sdk.routing.pools import default_pool
from aamc_sdk.routing.rewards import LinearReward
from aamc_tce.config import TCEConfig
from aamc_tce.estimator import TaskComplexityEstimator
folder, encoder, texts = json.load(sys.stdin)
services = Services(pool=default_pool(), reward=LinearReward(), make=lambda *_: None)
estimator = TaskComplexityEstimator(TCEConfig(encoder=encoder, max_length=16), services)
estimator.load(Path(folder))
try:
    estimates = estimator.estimate([Query(text) for text in texts])
    print(json.dumps([estimates.complexity.tolist(), estimator.quality(estimates, services.pool).shape]))
except ConfigError as error:
    print(json.dumps(str(error)))
"""


def served_without_torch(folder, encoder, texts):
    given = json.dumps([str(folder), encoder, texts])
    return json.loads(subprocess.run([sys.executable, "-c", SERVED_WITHOUT_TORCH], input=given, capture_output=True, text=True, check=True).stdout)


def test_an_exported_checkpoint_is_served_without_torch(exported, make_dataset):
    estimator, folder = exported
    texts = [query.text for query in make_dataset(5, seed=9).queries]
    complexity, shape = served_without_torch(folder, "elsewhere", texts)
    assert complexity == pytest.approx(estimator.estimate([Query(text) for text in texts]).complexity, abs=1e-3)
    assert shape[0] == 5


def test_without_torch_a_checkpoint_that_was_not_exported_says_the_way_out(exported, tiny_distilbert, tmp_path):
    exported[0].save(tmp_path)
    said = served_without_torch(tmp_path, tiny_distilbert, ["sort a list"])
    assert re.search(r"needs torch and transformers .*pip install torch transformers, or train with --export onnx", said)


@pytest.mark.parametrize("digests", [{}, None, {GRAPH: "0"}])
def test_a_description_without_a_digest_is_damaged_and_exported_again(encoder, copied_exports, tmp_path, digests):
    folder = runtime._folder(encoder.fingerprint)
    serving_embedder(encoder, TCEConfig(runtime="onnx"))
    described = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(described | {"sha256": digests}))
    with pytest.raises(CheckpointError, match=r"encoder.json is damaged .*; export again"):
        OnnxEncoder(folder)
    serving_embedder(encoder, TCEConfig(runtime="onnx"))
    assert copied_exports == ["onnx", "onnx"]


def test_onnxruntime_reports_nothing_and_leaves_nothing_behind(graphs, tmp_path):
    imports = "from pathlib import Path; from aamc_tce.encoders.onnx_encoder import OnnxEncoder"
    code = f"{imports}; OnnxEncoder(Path({str(graphs['onnx'])!r})).embed(['sort'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY" and not name.startswith("XDG_")}
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert not list(tmp_path.iterdir())


def test_an_exported_checkpoint_stays_so_when_it_is_saved_elsewhere(exported, make_estimator, tmp_path):
    loaded = make_estimator(encoder="elsewhere")
    loaded.load(exported[1])
    loaded.save(tmp_path)
    again = make_estimator(encoder="elsewhere")
    again.load(tmp_path)
    assert np.array_equal(again.estimate([Query("sort")]).embedding, loaded.estimate([Query("sort")]).embedding)


def test_a_fine_tuned_encoder_is_served_as_it_was_tuned(make_estimator, make_dataset, tmp_path):
    dataset = make_dataset(40)
    tuned = make_estimator(fine_tune=True, learning_rate=3e-3, epochs=1, folds=2, runtime="onnx")
    tuned.train(Training(dataset=dataset))
    tuned.save(tmp_path)
    tuned.export(tmp_path, "onnx")
    loaded = make_estimator(fine_tune=True, runtime="onnx")
    loaded.load(tmp_path)
    assert isinstance(loaded._ready_encoder(), OnnxEncoder)
    assert loaded.estimate(dataset.queries).complexity == pytest.approx(tuned.estimate(dataset.queries).complexity, abs=2e-3)


def test_another_graph_than_the_trained_one_is_refused(exported, graphs, make_estimator, tmp_path):
    estimator, _ = exported
    estimator.save(tmp_path)
    (tmp_path / "onnx").mkdir()
    for path in graphs["onnx-int8"].iterdir():
        (tmp_path / "onnx" / path.name).write_bytes(path.read_bytes())
    loaded = make_estimator()
    loaded.load(tmp_path)
    with pytest.raises(CheckpointError, match="not the one"):
        loaded.estimate([Query("sort")])


def test_the_same_text_again_is_not_computed_again(exported, monkeypatch):
    estimator, _ = exported
    first = estimator.estimate([Query("a text that is asked twice")])
    monkeypatch.setattr(estimator, "_encode", lambda *_: pytest.fail("computed again"))
    assert estimator.estimate([Query("a text that is asked twice", user="another")]) is first
    with pytest.raises(ValueError, match="read-only"):
        first.complexity[0] = 0.0


def test_the_graph_of_the_bundled_encoder_leaves_nothing_out(tmp_path):
    encoder = TorchEncoder("bundled", layers=4, max_length=32, device=CPU)
    export(encoder, "onnx", tmp_path)
    texts = ["How do I sort a list in Python?", "Une très longue question sur l'océan, 海, and more " * 5]
    assert cosine(OnnxEncoder(tmp_path).embed(texts), encoder.embed(texts)) == pytest.approx(1, abs=1e-6)
