"""What is tokenized word by word has the tokens of the tokenizers library, whatever the text."""

import pathlib
import string

import pytest
from aamc_tce.encoders.plain_text import PlainText
from aamc_tce.encoders.torch_encoder import resolve
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

LENGTH = 16
WORDS = ["Sort", "the", "unaffable", "x86_64", "don't", "3.14", "f(x)=y**2;", "##ing", "[x]", "a-b", "\t", "\r\n", "~", "$5", "`ls`"]
WORDS += ["q" * 101, "qz" * 50]  # a word of more than 100 letters is unknown as a whole
plain_texts = st.text(string.printable.replace("\x0b", "").replace("\x0c", "")) | st.lists(st.sampled_from(WORDS)).map(" ".join)


def bundled():
    tokenizer = Tokenizer.from_file(str(pathlib.Path(resolve("bundled")) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LENGTH)
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return bundled()


@pytest.fixture(scope="module")
def plain(tokenizer):
    assert PlainText.suits(tokenizer)
    return PlainText(tokenizer, LENGTH)


@given(text=plain_texts)
def test_a_plain_text_has_the_tokens_of_the_library(plain, tokenizer, text):
    assert plain(text) == tokenizer.encode(text).ids


@given(text=st.text())
def test_no_text_has_other_tokens_than_the_librarys(plain, tokenizer, text):
    assert plain(text) in (None, tokenizer.encode(text).ids)


@pytest.mark.parametrize("text", ["", "   \n ", "word " * 13, "word " * 14, "word " * 15, "unaffable " * 5, "qzqz" * 20, "a " * 10_000])
def test_a_text_is_cut_where_the_library_cuts_it(plain, tokenizer, text):
    assert plain(text) == tokenizer.encode(text).ids


@pytest.mark.parametrize("text", ["café", "海", "a\x00b", "a\x0bb", "del\x7f", "non\u00a0breaking", "is it [MASK] or [mask]?", "[SEP]"])
def test_what_is_to_be_cleaned_or_has_a_meaning_of_its_own_is_left_to_the_library(plain, text):
    assert plain(text) is None


def test_rare_words_are_remembered_and_only_so_many(plain):
    plain("unaffable unaffable")
    before = plain._pieces.cache_info()
    plain("unaffable")
    assert plain._pieces.cache_info().hits == before.hits + 1
    assert before.maxsize == 20_000


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("normalizer", normalizers.Lowercase()),
        ("normalizer", normalizers.BertNormalizer(lowercase=False)),
        ("pre_tokenizer", pre_tokenizers.Whitespace()),
        ("model", models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")),
        ("post_processor", processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 102)])),
        ("post_processor", processors.TemplateProcessing(single="[CLS] [SEP] $A", special_tokens=[("[CLS]", 101), ("[SEP]", 102)])),
    ],
)
def test_a_tokenizer_that_is_not_berts_is_not_taken_for_it(part, other):
    tokenizer = bundled()
    setattr(tokenizer, part, other)
    assert not PlainText.suits(tokenizer)
