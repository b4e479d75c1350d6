"""A sentence encoder's own pooling, normalisation and prompts give the embeddings of the sentence-transformers library."""

import json
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from aamc_tce.encoders.onnx_encoder import OnnxEncoder
from aamc_tce.encoders.onnx_export import export
from aamc_tce.encoders.sentence_format import SentenceFormat
from aamc_tce.encoders.torch_encoder import TorchEncoder
from huggingface_hub import _CACHED_NO_EXIST
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

from aamc_sdk.errors import AamcError, ConfigError

CPU = torch.device("cpu")
WORDS = ("sort", "list", "python", "sum", "number", "poem", "river", "please", "a", "the", "query", "represent", ":")
TEXTS = ["sort a list", "sum the number please", "poem", "the river poem a list please sum"]
POOLINGS = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AAMC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def bare_bert(tmp_path_factory):
    """Return the folder of a small BERT with random weights, which marks the first and last token of a text."""
    folder = tmp_path_factory.mktemp("bert")
    vocabulary = {word: place for place, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(vocabulary), initializer_range=0.3, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def make_folder(bare_bert, tmp_path):
    """Return a maker of sentence encoders in the files of the sentence-transformers library."""

    def make(pooling, *, normalize=False, prompts=None, default=None):
        folder = tmp_path / "sentence-encoder"
        shutil.copytree(bare_bert, folder)
        parts = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalize else [])]
        modules = [{"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"} for n, (path, kind) in enumerate(parts)]
        (folder / "1_Pooling").mkdir()
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16} | pooling))
        if prompts is not None:
            (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts, "default_prompt_name": default}))
        return str(folder)

    return make


def by_flags(*names):
    return {flag: name in names for name, flag in POOLINGS.items()}


def ours(folder, layers=1):
    return TorchEncoder(folder, layers=layers, max_length=32, device=CPU)


def exported(encoder, folder):
    export(encoder, "onnx", folder)
    return OnnxEncoder(folder)


def librarys(folder, **options):
    return SentenceTransformer(folder, device="cpu", local_files_only=True).encode(TEXTS, **options)


def close(expected):
    return pytest.approx(expected, abs=4e-3)  # vectors are kept in half precision


@pytest.mark.parametrize("names", [*((name,) for name in POOLINGS), ("cls", "mean")], ids="+".join)
def test_a_pooling_is_the_librarys(make_folder, names):
    folder = make_folder(by_flags(*names))
    assert ours(folder).embed(TEXTS) == close(librarys(folder))


def test_a_graph_has_every_pooling_of_the_library(make_folder, tmp_path):
    folder = make_folder(by_flags(*POOLINGS))
    assert exported(ours(folder), tmp_path / "onnx").embed(TEXTS) == close(librarys(folder))


@pytest.mark.parametrize("mode", ["cls", ["max", "mean"]])
def test_a_pooling_that_newer_versions_of_the_library_wrote_is_read_too(make_folder, mode):
    folder = make_folder({"pooling_mode": mode})
    assert ours(folder).embed(TEXTS) == close(librarys(folder))


@pytest.mark.parametrize("name", ["mean", "cls"])
def test_normalised_embeddings_are_normalised(make_folder, name):
    folder = make_folder(by_flags(name), normalize=True)
    embedding = ours(folder).embed(TEXTS)
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(1, abs=1e-3)
    assert embedding == close(librarys(folder))


@pytest.mark.parametrize(
    ("prompts", "default", "expected"),
    [
        ({"query": "query: ", "passage": "the "}, None, "query: "),
        ({"query": "query: ", "other": "sum "}, "other", "query: "),
        ({"other": "represent the "}, "other", "represent the "),
        ({"query": "", "document": ""}, None, ""),
        ({"other": "sum "}, None, ""),
    ],
)
def test_a_text_gets_the_query_prompt_or_else_the_default_one(make_folder, prompts, default, expected):
    folder = make_folder(by_flags("mean"), prompts=prompts, default=default)
    assert ours(folder).embed(TEXTS) == close(librarys(folder, prompt=expected))


@pytest.mark.parametrize("name", POOLINGS)
def test_a_prompt_may_be_left_out_of_the_pooling(make_folder, name):
    folder = make_folder(by_flags(name) | {"include_prompt": False}, prompts={"query": "represent the query : "})
    assert ours(folder).embed(TEXTS) == close(librarys(folder, prompt_name="query"))


def test_a_graph_has_the_prompt_and_the_normalisation_too(make_folder, tmp_path):
    pooling = by_flags(*POOLINGS) | {"include_prompt": False}
    folder = make_folder(pooling, normalize=True, prompts={"query": "represent the query : "})
    graph = exported(ours(folder), tmp_path / "onnx")
    assert graph.embed(TEXTS) == close(librarys(folder, prompt_name="query"))
    assert np.isfinite(graph.embed([""])).all()


def test_only_the_last_of_several_layers_has_the_encoders_own_pooling(make_folder, bare_bert):
    own, mean = ours(make_folder(by_flags("cls")), layers=2).embed(TEXTS), ours(str(bare_bert), layers=2).embed(TEXTS)
    assert np.array_equal(own[:, :16], mean[:, :16])
    assert not np.allclose(own[:, 16:], mean[:, 16:], atol=0.1)


@pytest.mark.parametrize("pooling", [by_flags("cls", "max"), {"pooling_mode": ["lasttoken", "cls"]}], ids=["flags", "another order"])
def test_a_saved_encoder_keeps_its_pooling_normalisation_and_prompt(make_folder, tmp_path, pooling):
    folder = make_folder(pooling | {"include_prompt": False}, normalize=True, prompts={"query": "query : "})
    encoder = ours(folder)
    encoder.save(tmp_path / "saved")
    again = ours(str(tmp_path / "saved"))
    assert again.fingerprint == encoder.fingerprint
    assert np.array_equal(again.embed(TEXTS), encoder.embed(TEXTS))
    assert encoder.embed(TEXTS) == close(librarys(str(tmp_path / "saved"), prompt_name="query"))


def test_an_encoder_whose_configuration_names_its_width_otherwise_is_saved(make_folder, tmp_path):
    folder = make_folder(by_flags("cls"))
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 32}
    DistilBertModel(DistilBertConfig(vocab_size=4 + len(WORDS), **sizes)).save_pretrained(folder)
    encoder = ours(folder)
    encoder.save(tmp_path / "saved")
    assert encoder.embed(TEXTS) == close(librarys(str(tmp_path / "saved")))


def test_pooling_and_prompt_are_in_the_fingerprint_and_a_plain_mean_is_not(make_folder, bare_bert, tmp_path):
    plain = ours(str(bare_bert)).fingerprint
    found = []
    for pooling, prompts in ((by_flags("mean"), None), (by_flags("cls"), None), (by_flags("mean"), {"query": "query : "})):
        found.append(ours(make_folder(pooling, prompts=prompts)).fingerprint)
        shutil.rmtree(tmp_path / "sentence-encoder")
    assert found[0] == plain
    assert len(set(found)) == 3


@pytest.mark.parametrize("pooling", [{"pooling_mode": "median"}, {"pooling_mode": 3}])
def test_an_unknown_pooling_is_refused(make_folder, pooling):
    with pytest.raises(ConfigError, match=r"pooling .*(median|3).*; known are cls"):
        ours(make_folder(pooling))


def test_a_module_that_is_not_applied_is_warned_about(make_folder, caplog):
    folder = Path(make_folder(by_flags("mean")))
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(
        json.dumps([*modules, {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}])
    )
    ours(str(folder))
    assert "Dense" in caplog.text


def test_a_folder_without_the_pooling_that_it_names_is_refused(make_folder):
    folder = make_folder(by_flags("cls"))
    (Path(folder) / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"lacks 1_Pooling/config.json, which its modules.json names; copy it too"):
        ours(folder)


@pytest.mark.parametrize("content", [{"a": 1}, [1], [{"type": "a.Pooling"}], [{"path": "", "type": 3}]])
def test_modules_of_another_structure_are_refused(make_folder, content):
    folder = make_folder(by_flags("mean"))
    (Path(folder) / "modules.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="does not describe a sentence encoder"):
        ours(folder)


ABSENT = RemoteEntryNotFoundError("404", response=httpx.Response(404, request=httpx.Request("GET", "http://hub")))
UNREACHABLE = [LocalEntryNotFoundError("no connection"), OSError("no network"), httpx.RemoteProtocolError("disconnected")]


@pytest.fixture
def failing_hub(monkeypatch):
    """Return a function that lets the hub fail with an error, and sets whether the user works offline."""

    def fail(error, *, offline=False):
        def download(*_):
            raise error

        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)

    return fail


def test_a_model_on_the_hub_without_such_files_is_mean_pooled(failing_hub, caplog):
    failing_hub(ABSENT)
    assert SentenceFormat.read("someone/some-model") == SentenceFormat()
    assert not caplog.text


@pytest.mark.parametrize("error", UNREACHABLE)
def test_a_hub_that_fails_does_not_mean_mean_pooling(failing_hub, caplog, monkeypatch, error):
    failing_hub(error)
    with pytest.raises(AamcError, match=r"'someone/some-model' needs its modules.json, if there is one, and the hub did not send it .*; try again"):
        SentenceFormat.read("someone/some-model")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: _CACHED_NO_EXIST)
    assert SentenceFormat.read("someone/some-model") == SentenceFormat()  # the hub has answered before
    assert not caplog.text


def test_offline_a_model_whose_files_are_not_at_hand_is_mean_pooled_with_a_warning(failing_hub, caplog):
    failing_hub(UNREACHABLE[0], offline=True)
    assert SentenceFormat.read("someone/some-model") == SentenceFormat()
    assert "its pooling or prompt may be wrong" in caplog.text


def test_a_model_on_the_hub_has_its_own_format(make_folder, monkeypatch):
    folder = Path(make_folder(by_flags("cls"), normalize=True, prompts={"query": "query : "}))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda _, name: str(folder / name))
    assert SentenceFormat.read("someone/some-model") == SentenceFormat(poolings=("cls",), normalize=True, prompt="query : ")


def test_the_bundled_encoders_numbers_are_those_of_its_mean(tmp_path):
    encoder = TorchEncoder("bundled", layers=1, max_length=32, device=CPU)
    assert np.linalg.norm(encoder.embed(TEXTS), axis=1).min() > 2  # it is not normalised: its numbers stay what they always were
