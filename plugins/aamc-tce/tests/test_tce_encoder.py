import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from aamc_tce.encoders import embedder
from aamc_tce.encoders.torch_encoder import TorchEncoder, one_core_each, torch_device
from aamc_tce.encoders.vector_cache import VectorCache, cache_folder
from aamc_tce.estimator import TaskComplexityEstimator
from transformers import BertConfig, BertModel, T5Config, T5Model, XLNetConfig, XLNetModel

from aamc_sdk.errors import AamcError, ConfigError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AAMC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tiny(tiny_distilbert):
    return lambda **options: TorchEncoder(tiny_distilbert, **({"layers": 4, "max_length": 16, "device": CPU} | options))


@pytest.fixture
def bert_without_tokenizer(tmp_path):
    BertModel(BertConfig(vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)).save_pretrained(tmp_path)
    return str(tmp_path)


def swapped(vocabulary):
    """Return a vocabulary in which two words have each other's number."""
    return vocabulary | {"sort": vocabulary["list"], "list": vocabulary["sort"]}


def test_the_bundled_encoder_knows_what_means_the_same():
    encoder = TorchEncoder("bundled", layers=1, max_length=32, device=CPU)
    same, other = encoder.embed(["How do I sort a list in Python?", "Ordering an array with code"]), encoder.embed(["A love poem about the sea"])
    unit = np.concatenate((same, other)) / np.linalg.norm(np.concatenate((same, other)), axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.2


def test_pooled_layers_are_spread_over_the_model_and_of_unit_length(tiny):
    encoder = tiny(layers=3)
    assert encoder.layers == [0, 1, 2]
    embedding = encoder.embed(["sort a list"])
    assert embedding.shape == (1, 48)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-3)
    assert np.linalg.norm(embedding[0, :16]) == pytest.approx(3**-0.5, abs=1e-3)


def test_padding_does_not_change_an_embedding(tiny):
    encoder = tiny()
    with torch.inference_mode():
        short, long = encoder.tokenize(["sort", "sort a list now please"])
        assert torch.allclose(encoder.pool([short, long])[0], encoder.pool([short])[0], atol=1e-6)


def test_texts_are_cut_at_the_length_that_the_model_has(tiny):
    assert len(tiny(max_length=1000).tokenize(["sort " * 500])[0]) == 32


def test_texts_are_whole_for_a_model_without_a_limit(tiny_distilbert, tmp_path):
    shutil.copytree(tiny_distilbert, tmp_path / "xlnet")
    XLNetModel(XLNetConfig(vocab_size=18, d_model=16, n_layer=2, n_head=2, d_inner=32)).save_pretrained(tmp_path / "xlnet")
    encoder = TorchEncoder(str(tmp_path / "xlnet"), layers=1, max_length=16, device=CPU)
    assert encoder.tokenize(["sort a list"]) == [[2, 16, 3]]  # in the vocabulary of the words
    assert len(encoder.tokenize(["sort a list " * 20])[0]) == 16


def test_an_encoder_without_the_pooler_is_the_same_each_time(tiny_roberta, tmp_path):
    encoder = TorchEncoder(tiny_roberta, layers=2, max_length=16, device=CPU)
    encoder.save(tmp_path / "saved")
    for folder in (tiny_roberta, str(tmp_path / "saved")):
        again = TorchEncoder(folder, layers=2, max_length=16, device=CPU)
        assert list(again.known_fingerprints()) == list(encoder.known_fingerprints())


def test_an_encoder_without_some_weights_is_refused(tiny_distilbert, tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_distilbert, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layers": 3}))
    with pytest.raises(AamcError, match=r"its files lack 16 weights, such as transformer\.layer\.2\..*; the folder needs config.json"):
        TorchEncoder(str(folder), layers=1, max_length=16, device=CPU)


def test_an_encoder_without_its_vocabulary_is_refused(bert_without_tokenizer):
    with pytest.raises(AamcError, match=r"its tokenizer has 5 tokens, the model 100; the folder needs .* the tokenizer's files"):
        TorchEncoder(bert_without_tokenizer, layers=1, max_length=16, device=CPU)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a"),
        ("pytorch_model.bin", b""),
        ("pytorch_model.bin", b"<!doctype html>"),
    ],
)
def test_damaged_weights_are_one_line_with_the_way_out(tiny_distilbert, tmp_path, name, content):
    shutil.copytree(tiny_distilbert, tmp_path / "encoder")
    (tmp_path / "encoder" / "model.safetensors").unlink()
    (tmp_path / "encoder" / name).write_bytes(content)
    with pytest.raises(AamcError, match=r"cannot be loaded \(its weights are damaged or incomplete\); the folder needs config.json"):
        TorchEncoder(str(tmp_path / "encoder"), layers=1, max_length=16, device=CPU)


@pytest.mark.parametrize("missing", ["./encoder", "/x/encoder", "checkpoints/tce/encoder"])
def test_a_folder_that_is_missing_is_not_looked_for_on_the_hub(missing):
    with pytest.raises(AamcError, match=f"there is no folder {missing}; name an encoder on the hub"):
        TorchEncoder(missing, layers=1, max_length=16, device=CPU)


def test_an_encoder_whose_numbers_are_nan_has_damaged_weights(tiny):
    encoder = tiny(layers=2)
    encoder.model.transformer.layer[-1].output_layer_norm.bias.data[0] = float("nan")
    with pytest.raises(AamcError, match="the encoder gives NaN: its weights are damaged"):
        encoder.embed(["sort"])


def test_an_encoder_with_a_decoder_is_refused(tiny_distilbert, tmp_path):
    shutil.copytree(tiny_distilbert, tmp_path / "encoder")
    T5Model(T5Config(vocab_size=18, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)).save_pretrained(tmp_path / "encoder")
    with pytest.raises(AamcError, match="it has a decoder too"):
        TorchEncoder(str(tmp_path / "encoder"), layers=1, max_length=16, device=CPU)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokenizer.json", lambda tokenizer: tokenizer | {"normalizer": {"type": "Lowercase"}}),
        ("tokenizer.json", lambda tokenizer: tokenizer | {"model": tokenizer["model"] | {"vocab": swapped(tokenizer["model"]["vocab"])}}),
        ("config.json", lambda config: config | {"activation": "relu"}),
    ],
)
def test_an_encoder_is_another_with_another_tokenizer_or_configuration(tiny_distilbert, tmp_path, name, change):
    shutil.copytree(tiny_distilbert, tmp_path / "encoder")
    (tmp_path / "encoder" / name).write_text(json.dumps(change(json.loads((tmp_path / "encoder" / name).read_text()))))
    first, other = (TorchEncoder(str(folder), layers=2, max_length=16, device=CPU) for folder in (tiny_distilbert, tmp_path / "encoder"))
    assert first.fingerprint != other.fingerprint


def test_an_encoder_stays_the_same_when_it_has_read_texts_and_is_saved(tiny, tmp_path):
    encoder = tiny()
    before = encoder.fingerprint
    encoder.embed(["sort a list"])
    encoder.forget()
    encoder.save(tmp_path / "saved")
    again = TorchEncoder(str(tmp_path / "saved"), layers=4, max_length=16, device=CPU)
    assert before == encoder.fingerprint == again.fingerprint


def test_checkpoints_that_name_an_encoder_by_its_weights_alone_are_accepted():
    encoder = TorchEncoder("bundled", layers=4, max_length=256, device=CPU)
    assert list(encoder.known_fingerprints())[1:] == ["03e967afa21caa55", "7f394f71fea3f73e"]


def test_texts_are_cut_at_the_positions_that_are_left_after_the_paddings(tiny_roberta):
    encoder = TorchEncoder(tiny_roberta, layers=1, max_length=1000, device=CPU)
    assert encoder.max_length == 32  # of 34: positions begin after the padding's, which is 1
    assert np.isfinite(encoder.embed(["sort " * 500])).all()


def test_a_text_is_embedded_once_across_encoders(tiny, monkeypatch):
    texts = [f"sort a list {n}" for n in range(40)]
    first = tiny().embed(texts)
    second = tiny()
    monkeypatch.setattr(second, "pool", lambda batch: pytest.fail("embedded again"))
    assert np.array_equal(second.embed(texts), first)


def test_a_stopped_computation_keeps_what_it_has_embedded(tiny, monkeypatch):
    monkeypatch.setattr(embedder, "KEPT_AT_ONCE", 64)
    texts, encoder = [f"sort a list {n}" for n in range(200)], tiny()
    pooled, calls = encoder._pooled, []

    def stop(batch):
        calls.append(batch)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return pooled(batch)

    monkeypatch.setattr(encoder, "_pooled", stop)
    with pytest.raises(KeyboardInterrupt):
        encoder.embed(texts)
    assert len(VectorCache(cache_folder(), encoder.fingerprint, encoder.width).get(texts)) == 64


def test_numbers_beyond_half_precision_are_an_error_unless_layers_are_scaled(tiny):
    one_layer, two_layers = tiny(layers=1), tiny(layers=2)
    for encoder in (one_layer, two_layers):
        encoder.model.transformer.layer[-1].output_layer_norm.bias.data[0] = -2.5e7
    for compute in (
        lambda: one_layer.embed(["sort"]),
        lambda: one_layer.embed([f"sort {n}" for n in range(40)]),
        lambda: one_layer.seconds_for(one_layer.tokenize(["sort"])),  # before a fine-tuning
    ):
        with pytest.raises(AamcError, match=r"the encoder gives numbers above 65,504, the limit of half precision; set estimator.layers to 2"):
            compute()
    assert np.isfinite(two_layers.embed(["sort"])).all()


def test_a_long_text_is_not_remembered(tiny):
    encoder = tiny()
    encoder.embed(["short", "long " * 5_000])
    assert list(encoder._remembered) == ["short"]


def test_a_served_text_leaves_nothing_on_disk(tiny, tmp_path):
    tiny().embed(["sort a list"])
    assert not list(tmp_path.rglob("*.sqlite"))


@pytest.mark.parametrize("damage", [b"this is no database at all", b""])
def test_a_damaged_cache_is_rebuilt(tiny, tmp_path, damage):
    texts = [f"poem {n}" for n in range(40)]
    expected = tiny().embed(texts)
    (file,) = tmp_path.rglob("*.sqlite")
    file.write_bytes(damage)
    assert np.array_equal(tiny().embed(texts), expected)
    assert np.array_equal(tiny().embed(texts), expected)


def test_a_damaged_vector_is_not_believed(tmp_path):
    import sqlite3

    cache = VectorCache(tmp_path, "x", 4)
    cache.put({"one": np.ones(4, np.float16), "two": np.ones(4, np.float16)})
    connection = sqlite3.connect(cache.path)
    with connection:
        connection.execute("UPDATE vectors SET vector = zeroblob(8) WHERE key = (SELECT min(key) FROM vectors)")
    connection.close()
    assert len(cache.get(["one", "two"])) == 1


def test_a_folder_that_cannot_be_made_costs_time_only(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AAMC_CACHE", str(tmp_path / "file" / "below"))
    assert np.isfinite(tiny().embed([f"river {n}" for n in range(40)])).all()


def test_a_folder_that_cannot_be_looked_into_costs_time_only(caplog):
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0)
        if root:
            os.seteuid(65534)  # root may look into everything
        try:
            cache = VectorCache(Path(folder), "x", 4)
            assert cache.get(["one"]) == {}
            cache.put({"one": np.ones(4, np.float16)})
        finally:
            if root:
                os.seteuid(0)
    assert "embeddings are not cached" in caplog.text


def test_many_writers_share_a_cache(tmp_path):
    vectors = {f"text {n}": np.full(4, n, np.float16) for n in range(64)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda item: VectorCache(tmp_path, "x", 4).put(dict([item])), vectors.items()))
    found = VectorCache(tmp_path, "x", 4).get(list(vectors))
    assert {text: vector[0] for text, vector in found.items()} == {f"text {n}": n for n in range(64)}


def test_torch_gets_its_cores_back():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), one_core_each():
        raise RuntimeError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are_everywhere(name):
    with pytest.raises(ConfigError, match=f"device '{name}' cannot be used .*; use auto or cpu$"):
        torch_device(name)


def test_training_refuses_a_device_that_is_not_there(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("No CUDA GPUs are available")

    monkeypatch.setattr("torch.empty", fail)
    with pytest.raises(ConfigError, match="No CUDA GPUs are available"):
        TaskComplexityEstimator.check_device("cuda")


def test_looking_at_the_options_imports_nothing_heavy():
    code = "import sys, aamc_tce.plugin, aamc_tce.estimator; print([m for m in ('torch', 'transformers', 'sklearn', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
