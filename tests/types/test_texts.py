from __future__ import annotations

import pytest

from aamc_sdk.types import last_number, normalized_answer, normalized_text, same_number, text_bytes


def test_spellings_of_one_question_are_equal() -> None:
    assert normalized_text(" What  is\tthis? ") == normalized_text("what is THIS?")
    assert normalized_text("\ufb01ne") == "fine"
    assert normalized_text("what is this") != normalized_text("what is this?")


@pytest.mark.parametrize(
    "answer",
    ["paris", " Paris. ", '"Paris".', "'PARIS.'", "**Paris.**", "`paris`", "$Paris$", "_Paris_", "\u201cParis\u201d.", "\u00abParis\u00bb"],
)
def test_an_answer_is_the_same_with_other_case_quotes_emphasis_and_full_stop(answer: str) -> None:
    assert normalized_answer(answer) == "paris"


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        ("東京。", "東京"),
        ("「東京」", "東京"),
        ("『東京』。", "東京"),
        ("\uff08東京\uff09", "(東京)"),
        ("《红楼梦》", "红楼梦"),
        ("दिल्ली।", "दिल्ली"),
        ("دہلی\u06d4", "دہلی"),
        ("„Berlin“", "berlin"),
        ("\u201aBerlin\u2018.", "berlin"),
        ("\u2039Berlin\u203a", "berlin"),
        ("\u200fنعم\u200f", "نعم"),
        ("か\u200b\u3099", "が"),
        ("\ufeffPa\u00adris", "paris"),
    ],
)
def test_an_answer_is_the_same_with_the_punctuation_of_other_languages(answer: str, same: str) -> None:
    assert normalized_answer(answer) == same


@pytest.mark.parametrize("answer", [r"\(Paris\)", r"\[ Paris \].", r"\text{Paris}", r"$\mathrm{Paris}$.", r"\textit{Paris}", r"\mbox{Paris}"])
def test_an_answer_is_the_same_with_the_marks_of_latex(answer: str) -> None:
    assert normalized_answer(answer) == "paris"


def test_spaces_within_marks_are_one() -> None:
    assert normalized_answer(r"5 \text{ cm}") == "5 cm"


@pytest.mark.parametrize(
    ("answer", "other"),
    [(".5", "5"), ("5!", "5"), ("-5", "5"), ("...", ""), ('"', ""), ("a b", "ab"), (r"\text{5}!", "5"), (r"\sqrt{5}", "5")],
)
def test_other_answers_differ(answer: str, other: str) -> None:
    assert normalized_answer(answer) != normalized_answer(other)


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("6 x 7 = 42.", 42.0),
        ("at -3 degrees", -3.0),
        ("\u22123", -3.0),
        ("1,234.5 USD", 1234.5),
        ("It takes -2 1/2 hours.", -2.5),
        ("6/3 1/2", 0.5),
        ("1,000,000", 1e6),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("12-15", 15.0),
        (r"\boxed{7} by 2 steps", 7.0),
        (r"\boxed{\frac{1}{2}} holds, see step 7", 0.5),
        (r"\boxed{\text{about } 12 \text{ m}^{2}} or \boxed{x = \text{12}}", 12.0),
        (r"it is -\dfrac{3}{4}", -0.75),
        (r"$2\frac{1}{2}$ hours", 2.5),
        (r"$1 \frac{1}{2}$", 1.5),
        (r"\boxed{\frac{-1}{2}}", -0.5),
        (r"\boxed{\frac12}", 0.5),
        (r"\cfrac { 1.5 } { 2 }", 0.75),
        (r"\frac{1,000}{4}", 250.0),
        ("it is 3/4", 0.75),
        ("on 3/4/2024", 2024.0),
        (r"\boxed{1{,}000} or 1\,000", 1000.0),
        (r"\frac{1}{0}", None),
        ("1e999", None),
        (r"\boxed{\frac{a}{b}}", None),
        (r"\boxed{\sqrt{2}}", None),
        (r"\boxed{\frac{\sqrt{2}}{2}}", None),
        (r"\boxed{2 + \sqrt{3}}", None),
        (r"\boxed{\sqrt{\frac{1}{2}}}", None),
        (r"It is \frac{\sqrt{2}}{2}", None),
        (r"It is \sqrt{2}/2", None),
        (r"\boxed{3 \times 10^5}", 3e5),
        (r"\boxed{3\cdot 10^{-2}}", 0.03),
        ("about 3 \u00d7 10^5", 3e5),
        ("3*10**5", 3e5),
        ("3 x 10^5", 3e5),
        (r"\boxed{10^{-3}}", 0.001),
        (r"\boxed{2^{10}}", None),
        ("2^10 = 1024", 1024.0),
        (r"\boxed{2\pi}", None),
        (r"\boxed{x^2}", None),
        (r"\boxed{25 cm^2}", 25.0),
        (r"\boxed{25\text{ cm}^{2}}", 25.0),
        (r"\boxed{45^\circ}", 45.0),
        (r"\boxed{90^{\circ}}", 90.0),
        ("110^2 is more", None),
        ("√2", None),
        (r"\boxed{√2}", None),
        (r"It is 2\cdot\sqrt{3}", None),
        ("√2 is no answer, 5 is", 5.0),
        (r"It is \sqrt{1/2}, so 7", 7.0),
        (r"\boxed{3\sqrt[3]{2}}", None),
        (r"\sqrt2 is no answer, 5 is", 5.0),
        (r"\boxed{", None),
        ("none", None),
        ("Die Antwort ist 3,14.", 3.14),
        ("0,125", 0.125),
        ("1234,567", 1234.567),
        ("1.234,56 €", 1234.56),
        ("1.234.567", 1_234_567.0),
        ("0.123.456", 0.456),
        ("1.234", 1.234),
        (r"\boxed{3{,}14}", 3.14),
        ("1\u00a0234\u202f567,8", 1_234_567.8),
        ("12,34,567.8", 1_234_567.8),
        ("1,00,000", 100_000.0),
        ("3,5e3", 3500.0),
        ("1,5/2", 0.75),
        ("1,2,3", 3.0),
        ("1, 2, 300", 300.0),
        ("[1,2]", 2.0),
        ("the point (-1,25) is", 25.0),
        (r"\boxed{\left( 0,12 \right)}", 12.0),
        ("2 (1,234)", 1234.0),
        (r"it is \(1,2\)", 1.2),
        (r"so \[1,2\]", 1.2),
        ("(1,2 m)", 1.2),
        ("答えは\uff13\uff0e\uff11\uff14です", 3.14),
        ("\uff0d\uff11\uff0c\uff12\uff13\uff14", -1234.0),
        ("\uff11\uff0f\uff12", 0.5),
        ("الجواب هو \u0663\u066b\u0661\u0664", 3.14),
        ("\u0661\u066c\u0662\u0663\u0664", 1234.0),
        ("\u200e-\u200e٣", -3.0),
        ("उत्तर ३.१४ है", 3.14),
        ("25 m²", 25.0),
    ],
)
def test_the_last_number_of_an_answer_counts(answer: str, number: float | None) -> None:
    assert last_number(answer) == number


@pytest.mark.parametrize("answer", ["121932631112635269", "121,932,631,112,635,269.00", "It is 121932631112635269."])
def test_a_whole_number_keeps_all_its_digits(answer: str) -> None:
    assert last_number(answer) == 121_932_631_112_635_269


@pytest.mark.parametrize(
    ("found", "wanted", "equal"),
    [(1234568, 1234567, False), (1234567, 1234567, True), (1234568.0, 1234567, True), (0.5, 0.4999999, True), (0.5, 0.49, False), (0.0, 1e-10, True)],
)
def test_whole_numbers_are_the_same_exactly_and_others_within_a_tolerance(found: float, wanted: float, equal: bool) -> None:
    assert same_number(found, wanted, relative=1e-6, absolute=1e-9) is equal


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("hello", 5),
        ("日本語" * 2000, 18_000),
        ({"url": "data:image/png;base64,iVBORw0KGgo="}, 4 + 6000),
        ({"data": "A" * 1_000_000}, 4 + 6000),
        ({"data": "word " * 1000}, 4 + 5000),
        ({"text": "A" * 1_000_000}, 4 + 1_000_000),
        ([{"content": "data:image/png;base64,iVBORw0KGgo="}, "A" * 10_000], 4 + 34 + 10_000),
        ("word " * 1000, 5000),
        ({"role": "user", "content": [{"type": "text", "text": "hello"}]}, 4 * 4 + 5),
        ({"type": {"description": "a field of that name"}, "number": 7, "none": None}, 4 * 4 + 20 + 4),
        ([[9906, 1917], [0, True]], 3 * 4),
    ],
    ids=["text", "Japanese", "data URL", "base64", "text as data", "digits", "files as text", "long text", "message", "schema", "token ids"],
)
def test_bytes_of_texts_count_and_a_file_has_those_of_an_image(value: object, size: int) -> None:
    assert text_bytes(value) == size
