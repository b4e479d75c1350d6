"""A long text that is tokenized from its two ends has the tokens of the whole: half from the start, half from the end."""

import pathlib

import pytest
import torch
from aamc_tce.encoders import text_window
from aamc_tce.encoders.text_window import window, window_of_long
from aamc_tce.encoders.torch_encoder import TorchEncoder, resolve
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

LENGTH = 8
WORDS = ["café", "海", "e\u0301", "\u0301" * 3, "unaffable", "it'll", "[MASK]", "[SEP]", "  ", "\n", "...", "q" * 101]
WORDS += ["\ufb01", "\U0001f469\u200d\U0001f467", "\u200d", "\x00", "naïve"]
lists = st.lists(st.sampled_from(WORDS), min_size=20, max_size=60)
texts = st.text() | lists.map("".join) | lists.map(" ".join)


@pytest.fixture(scope="module", autouse=True)
def _short_ends():
    """Cut 56 characters from either end, so that texts are often cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_window, "CHARACTERS_PER_WORD", 4)
        patch.setattr(text_window, "WORDS_BESIDE_THE_CUT", 6)
        yield


def bundled():
    return Tokenizer.from_file(str(pathlib.Path(resolve("bundled")) / "tokenizer.json"))


def byte_pairs():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator([" ".join(WORDS)], trainers.BpeTrainer(vocab_size=400, show_progress=False))
    return tokenizer


def with_marks():
    tokenizer = byte_pairs()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 400), ("</s>", 401)])
    return tokenizer


def one_word():
    tokenizer = byte_pairs()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("\x01"), "isolated")
    return tokenizer


@pytest.fixture(scope="module", params=[bundled, byte_pairs, with_marks, one_word])
def tokenizer(request):
    tokenizer = request.param()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def read(tokenizer, text):
    whole = tokenizer.encode(text)
    return window(whole.ids, whole.special_tokens_mask, LENGTH)


def test_half_is_read_from_the_start_and_half_from_the_end():
    assert window(list(range(8)), [0] * 8, 8) == list(range(8))
    assert window(list(range(20)), [0] * 20, 8) == [0, 1, 2, 3, 16, 17, 18, 19]
    assert window(list(range(20)), [0] * 20, 7) == [0, 1, 2, 3, 17, 18, 19]


def test_special_tokens_at_both_ends_are_kept():
    assert window(list(range(20)), [1] + [0] * 18 + [1], 8) == [0, 1, 2, 3, 16, 17, 18, 19]
    assert window(list(range(20)), [1, 1, *[0] * 18], 8) == [0, 1, 2, 3, 4, 17, 18, 19]
    assert window(list(range(20)), [0] * 17 + [1] * 3, 8) == [0, 1, 2, 15, 16, 17, 18, 19]


@given(text=texts)
def test_the_two_ends_have_the_tokens_of_the_whole_or_decide_nothing(tokenizer, text):
    assert window_of_long(tokenizer.encode, text, LENGTH) in (None, read(tokenizer, text))


def test_many_short_words_are_decided_and_one_long_word_is_not(tokenizer):
    words, letters = "海 é " * 60, "é" * 300
    by_words = window_of_long(tokenizer.encode, words, LENGTH)
    assert by_words == (None if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.Split) else read(tokenizer, words))
    assert window_of_long(tokenizer.encode, letters, LENGTH) is None


def test_a_short_text_is_tokenized_whole(tokenizer):
    assert window_of_long(tokenizer.encode, "é" * 112, LENGTH) is None


@pytest.mark.parametrize("text", ["", "   \n ", "word " * 5, "word " * 6, "word " * 7, "unaffable " * 5, "qzqz" * 20, "a " * 10_000, "x86_64 " * 90])
def test_the_ends_of_a_long_text_are_those_of_the_whole(tokenizer, text):
    assert (window_of_long(tokenizer.encode, text, LENGTH) or read(tokenizer, text)) == read(tokenizer, text)


def test_undecided_ends_grow():
    tokenizer = bundled()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lengths = []

    def encode(text):
        lengths.append(len(text))
        return tokenizer.encode(text)

    text = "qz" * 100 + " word" * 600
    assert window_of_long(encode, text, LENGTH) == read(tokenizer, text)
    assert lengths == [56, 56, 224, 224, 896, 896]


def test_an_encoder_tokenizes_a_megabyte_from_its_ends(monkeypatch):
    monkeypatch.setattr(text_window, "CHARACTERS_PER_WORD", 10)
    monkeypatch.setattr(text_window, "WORDS_BESIDE_THE_CUT", 30)
    encoder = TorchEncoder("bundled", layers=1, max_length=256, device=torch.device("cpu"))
    text = "café naïve 海 " * 80_000 + "What is the sum?"
    whole = encoder._encode([text])["input_ids"][0]
    encode, characters = encoder._encode, []

    def counting(texts):
        characters.extend(map(len, texts))
        return encode(texts)

    monkeypatch.setattr(encoder, "_encode", counting)
    short, quick, one = encoder.tokenize(["short", text, "é"])
    assert quick == whole[:128] + whole[-128:]
    assert len(short) == len(one) == 3
    assert sum(characters) < 0.1 * len(text)


def test_the_end_of_a_long_text_changes_its_embedding():
    encoder = TorchEncoder("bundled", layers=1, max_length=32, device=torch.device("cpu"))
    start = "Here is a report of the last year. " * 20
    code, poem = encoder.embed([f"{start} Write a program that sorts it.", f"{start} Write a poem about it."])
    assert abs(code - poem).max() > 0.01
