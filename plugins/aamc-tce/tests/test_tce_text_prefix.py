"""A long text that is tokenized from its beginning has the tokens of the whole."""

import pathlib
import time

import pytest
import torch
from aamc_tce.encoders import text_prefix
from aamc_tce.encoders.text_prefix import prefix_tokens
from aamc_tce.encoders.torch_encoder import TorchEncoder, resolve
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

LENGTH = 8
WORDS = ["café", "海", "e\u0301", "\u0301" * 3, "unaffable", "it'll", "[MASK]", "[SEP]", "  ", "\n", "...", "q" * 101]
WORDS += ["\ufb01", "\U0001f469\u200d\U0001f467", "\u200d", "\x00", "naïve"]
lists = st.lists(st.sampled_from(WORDS), min_size=20, max_size=60)
texts = st.text() | lists.map("".join) | lists.map(" ".join)


@pytest.fixture(scope="module", autouse=True)
def _short_prefix():
    """Cut after 56 characters, so that texts are often cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_prefix, "CHARACTERS_PER_WORD", 4)
        patch.setattr(text_prefix, "WORDS_BEFORE_THE_CUT", 6)
        yield


def bundled():
    return Tokenizer.from_file(str(pathlib.Path(resolve("bundled")) / "tokenizer.json"))


def byte_pairs():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator([" ".join(WORDS)], trainers.BpeTrainer(vocab_size=400, show_progress=False))
    return tokenizer


def one_word():
    tokenizer = byte_pairs()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("\x01"), "isolated")
    return tokenizer


@pytest.fixture(scope="module", params=[bundled, byte_pairs, one_word])
def tokenizer(request):
    tokenizer = request.param()
    tokenizer.no_padding()
    tokenizer.enable_truncation(LENGTH)
    return tokenizer


@given(text=texts)
def test_the_beginning_has_the_tokens_of_the_whole_or_decides_nothing(tokenizer, text):
    assert prefix_tokens(tokenizer.encode, text, LENGTH) in (None, tokenizer.encode(text).ids)


def test_many_short_words_are_decided_and_one_long_word_is_not(tokenizer):
    words, letters = "海 é " * 40, "é" * 200
    by_words = prefix_tokens(tokenizer.encode, words, LENGTH)
    assert by_words == (None if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.Split) else tokenizer.encode(words).ids)
    assert prefix_tokens(tokenizer.encode, letters, LENGTH) is None


def test_a_short_text_is_left_to_the_library(tokenizer):
    assert prefix_tokens(tokenizer.encode, "é" * 56, LENGTH) is None


@pytest.mark.parametrize("text", ["", "   \n ", "word " * 5, "word " * 6, "word " * 7, "unaffable " * 5, "qzqz" * 20, "a " * 10_000, "x86_64 " * 90])
def test_a_text_is_cut_where_the_library_cuts_it(tokenizer, text):
    assert (prefix_tokens(tokenizer.encode, text, LENGTH) or tokenizer.encode(text).ids) == tokenizer.encode(text).ids


def test_an_undecided_prefix_grows():
    tokenizer = bundled()
    tokenizer.no_padding()
    tokenizer.enable_truncation(LENGTH)
    lengths = []

    def encode(text):
        lengths.append(len(text))
        return tokenizer.encode(text)

    text = "qz" * 100 + " word" * 300
    assert prefix_tokens(encode, text, LENGTH) == tokenizer.encode(text).ids
    assert lengths == [56, 224, 896]


def test_an_encoder_tokenizes_a_megabyte_from_its_beginning(monkeypatch):
    monkeypatch.setattr(text_prefix, "CHARACTERS_PER_WORD", 10)
    monkeypatch.setattr(text_prefix, "WORDS_BEFORE_THE_CUT", 30)
    encoder = TorchEncoder("bundled", layers=1, max_length=256, device=torch.device("cpu"))
    text = "café naïve 海 " * 80_000
    start = time.process_time()
    quick = encoder.tokenize(["short", text, "é"])
    seconds = time.process_time() - start
    start = time.process_time()
    whole = encoder._encode(["short", text, "é"])["input_ids"]
    assert quick == whole
    assert seconds < 0.3 * (time.process_time() - start)
