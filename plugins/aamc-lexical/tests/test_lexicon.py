import json
import math
import unicodedata

import numpy as np
import pytest
from aamc_lexical.config import LexicalConfig
from aamc_lexical.lexicon import Lexicon, character_terms, hashed_embedding, word_terms

from aamc_sdk.errors import CheckpointError

TEXTS = [
    "Sort a list.",
    "Sort the list in Python, please!",
    "A poem about the sea",
    "a story about a river, please",
    "What is 6 x 7?",
]
ODD = ["", "   ", "\x00", "🙂🙂 🙂", "日本語のテキスト", "nothing-of-that-kind", "word " * 100_000, "x" * 100_000]


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon.fit(TEXTS, LexicalConfig())


def test_words_and_signs_are_terms_and_so_are_runs_of_them():
    assert list(word_terms("is it 6?", 2)) == ["is", "it", "6", "?", "is it", "it 6", "6 ?"]
    assert list(word_terms("is it", 1)) == ["is", "it"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया", "।"]),
        ("مُحَمَّد؟", ["مُحَمَّد", "\u061f"]),
        ("สวัสดีครับ", ["สวัสดีครับ"]),
        ("क्\u200dष म\u200cष", ["क्\u200dष", "म\u200cष"]),
        ("x\u0301y z", ["x\u0301y", "z"]),
        ("❤\ufe0f \u0301", ["❤", "\ufe0f", "\u0301"]),
    ],
)
def test_a_word_has_its_vowel_signs_and_accents(text, words):
    assert list(word_terms(text, 1)) == words


def test_pieces_stay_within_a_word_and_know_its_ends():
    assert character_terms("abc d", 3) == [" ab", "abc", "bc ", " d "]


def test_weights_are_tf_idf_of_unit_length():
    lexicon = Lexicon.fit(["a a b", "b c", "c"], LexicalConfig(word_run=1, character_run=0))
    places, weights = lexicon._weights("a a b unheard-of")
    found = dict(zip(places, weights, strict=True))
    idf_a, idf_b = math.log(4 / 2) + 1, math.log(4 / 3) + 1
    expected = np.array([(1 + math.log(2)) * idf_a, idf_b])
    terms = lexicon.views[0].places
    assert [found[terms["a"]], found[terms["b"]]] == pytest.approx(expected / np.linalg.norm(expected))
    assert len(found) == 2


def test_words_weigh_what_scikit_learn_says():
    from sklearn.feature_extraction.text import TfidfVectorizer

    theirs = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2), sublinear_tf=True).fit_transform(TEXTS)
    ours = Lexicon.fit(TEXTS, LexicalConfig(character_run=0))._matrix(TEXTS)
    assert np.allclose((ours @ ours.T).toarray(), (theirs @ theirs.T).toarray(), atol=1e-6)


def test_with_all_directions_nothing_is_lost_of_how_texts_resemble_each_other(lexicon):
    matrix = lexicon._matrix(TEXTS)
    weights = (matrix @ matrix.T).toarray()
    embedding = lexicon(TEXTS) + lexicon.centre
    angles = embedding @ embedding.T
    assert np.allclose(angles / angles[0, 0], weights / weights[0, 0], atol=1e-5)


def test_training_texts_have_mean_zero_and_unit_variance_on_average(lexicon):
    embedding = lexicon(TEXTS)
    assert embedding.mean(axis=0) == pytest.approx(np.zeros(embedding.shape[1]), abs=1e-5)
    assert np.mean(embedding**2) == pytest.approx(1, abs=1e-5)


def test_few_dimensions_keep_the_strongest_directions(lexicon):
    small = Lexicon.fit(TEXTS, LexicalConfig(dimensions=2))
    assert small(TEXTS).shape == (5, 2)
    matrix = lexicon._matrix(TEXTS).toarray()
    strengths = np.linalg.svd(matrix, compute_uv=False)
    projected = matrix @ small.components @ np.linalg.pinv(small.components)
    assert np.linalg.norm(projected) ** 2 == pytest.approx((strengths[:2] ** 2).sum(), rel=1e-4)


def test_case_does_not_matter(lexicon):
    assert np.array_equal(lexicon(["SORT A LIST."]), lexicon(["sort a list."]))


def test_the_batch_does_not_matter(lexicon):
    together = lexicon([*TEXTS, *ODD])
    assert all(np.array_equal(lexicon([text])[0], row) for text, row in zip([*TEXTS, *ODD], together, strict=True))
    assert lexicon([]).shape == (0, together.shape[1])


COMPOSED = ["Größe für Türme", "tiếng Việt rất đẹp", "デバッグでグラフが", "क़लम ज़रा"]


@pytest.mark.parametrize("text", COMPOSED)
def test_the_unicode_form_does_not_matter(text):
    lexicon = Lexicon.fit([*TEXTS, *COMPOSED], LexicalConfig())
    first, second = lexicon([unicodedata.normalize(form, f"{text} " * 300) for form in ("NFC", "NFD")])
    assert first.any()
    assert np.array_equal(first, second)
    assert np.array_equal(*hashed_embedding([unicodedata.normalize(form, text) for form in ("NFC", "NFD")], LexicalConfig()))


def test_odd_texts_have_finite_embeddings(lexicon):
    assert np.isfinite(lexicon(ODD)).all()


def test_a_text_of_unknown_terms_has_the_mean_embedding_of_the_training_texts_as_an_empty_one(lexicon):
    assert not lexicon(["", "日本語のテキスト", "किसने और क्यों बनवाया था विस्तार से बताइए?"]).any()
    assert lexicon(["बनवाया please?"]).any()


def test_no_more_is_read_than_the_option_allows():
    lexicon = Lexicon.fit(TEXTS, LexicalConfig(max_characters=11))
    assert np.array_equal(lexicon(["Sort a list. A poem about the sea"]), lexicon(["Sort a e sea"]))


def test_the_end_of_a_long_text_is_read():
    lexicon = Lexicon.fit(TEXTS, LexicalConfig(max_characters=40))
    middle = "word " * 100
    code, poem = lexicon([f"Please read this. {middle} Sort a list.", f"Please read this. {middle} A poem about the sea"])
    assert not np.allclose(code, poem)


def test_of_many_texts_a_term_needs_two():
    lexicon = Lexicon.fit([f"common rare{n}" for n in range(30)], LexicalConfig(word_run=1, character_run=0))
    assert list(lexicon.views[0].places) == ["common"]


def test_the_terms_of_the_most_texts_are_kept():
    lexicon = Lexicon.fit(["a b c", "a b", "a"], LexicalConfig(word_run=1, character_run=0, max_terms=2))
    assert list(lexicon.views[0].places) == ["a", "b"]


@pytest.mark.parametrize("texts", [[""], ["", " "], ["same", "same"]])
def test_texts_with_nothing_to_tell_apart_are_no_error(texts):
    assert np.isfinite(Lexicon.fit(texts, LexicalConfig())([*texts, "other"])).all()


def test_a_saved_lexicon_comes_back_whole(lexicon, tmp_path):
    lexicon.save(tmp_path)
    loaded = Lexicon.load(tmp_path)
    assert loaded.fingerprint == lexicon.fingerprint
    assert np.array_equal(loaded([*TEXTS, *ODD]), lexicon([*TEXTS, *ODD]))


def test_a_lexicon_of_version_0_1_reads_as_it_did(tmp_path):
    texts = [*TEXTS, "नमस्ते दुनिया", "Größe"]
    lexicon = Lexicon.fit(texts, LexicalConfig())
    lexicon.save(tmp_path)
    settings = json.loads((tmp_path / "lexicon.json").read_text())
    assert settings.pop("composed")
    (tmp_path / "lexicon.json").write_text(json.dumps(settings))
    loaded = Lexicon.load(tmp_path)
    assert list(loaded.views[0].terms("नमस्ते"))[:4] == ["नमस", "्", "त", "े"]
    assert not np.allclose(*loaded([unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD")]))
    assert np.array_equal(loaded(TEXTS), lexicon(TEXTS))
    assert loaded.fingerprint != lexicon.fingerprint
    loaded.save(tmp_path)
    assert json.loads((tmp_path / "lexicon.json").read_text()) == settings


def test_another_vocabulary_has_another_fingerprint(lexicon):
    assert Lexicon.fit(TEXTS[::-1], LexicalConfig()).fingerprint != Lexicon.fit(TEXTS[:4], LexicalConfig()).fingerprint != lexicon.fingerprint


@pytest.mark.parametrize("views", [[], [{"size": 2}] * 2, "words"])
def test_damaged_settings_are_a_checkpoint_error(lexicon, tmp_path, views):
    lexicon.save(tmp_path)
    (tmp_path / "lexicon.json").write_text(json.dumps({"max_characters": 10, "views": views}))
    with pytest.raises(CheckpointError, match="damaged"):
        Lexicon.load(tmp_path)
