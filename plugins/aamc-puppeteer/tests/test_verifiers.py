import asyncio

import pytest
from aamc_puppeteer.tasks import Task, Verdict, Verifier
from aamc_puppeteer.verifiers import Callback, Exact, Numeric, last_number

from aamc_sdk.errors import DataError


def judge(verifier: Verifier, reference: str | None, answer: str) -> Verdict:
    return asyncio.run(verifier(Task(id="t", text="?", reference=reference), answer))


@pytest.mark.parametrize(
    ("answer", "correct"), [("Lima", True), (" lima. ", True), ("'\uff2c\uff29\uff2d\uff21'", True), ("Lima, Peru", False), ("", False)]
)
def test_exact_forgives_spacing_case_and_form(answer: str, correct: bool) -> None:
    assert judge(Exact(), "Lima", answer).correct is correct


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        ("1234.5", True),
        ("The answer is 1,234.5.", True),
        ("12 + 3 = 1234.50000001", True),
        ("1234.6", False),
        ("about 1.2345e3", True),
        ("none", False),
    ],
)
def test_numeric_takes_the_last_number_within_the_tolerance(answer: str, correct: bool) -> None:
    assert judge(Numeric(), "1234.5", answer).correct is correct


def test_tolerances_are_as_wide_as_asked() -> None:
    assert judge(Numeric(absolute=0.5, relative=0.0), "10", "10.4").correct
    assert judge(Numeric(absolute=0.0, relative=0.05), "10", "10.4").correct
    assert not judge(Numeric(absolute=0.3, relative=0.03), "10", "10.4").correct


def test_a_wrong_answer_is_told_why() -> None:
    assert judge(Numeric(), "10", "11").why == "11 is not 10"
    assert judge(Exact(), "a", "b").why == "'b' is not 'a'"


@pytest.mark.parametrize(("text", "number"), [("12-15", 15.0), ("at -3 degrees", -3.0), ("1,000,000", 1e6), (".5", 0.5), ("no", None)])
def test_the_last_number_of_a_text(text: str, number: float | None) -> None:
    assert last_number(text) == number


def test_a_callback_may_say_why() -> None:
    assert judge(Callback(lambda task, answer: answer == task.text), None, "?").correct
    assert judge(Callback(lambda task, answer: Verdict(False, "too short")), None, "?").why == "too short"


@pytest.mark.parametrize("verifier", [Exact(), Numeric()])
def test_a_task_without_a_reference_cannot_be_compared(verifier: Verifier) -> None:
    with pytest.raises(DataError, match="task 't' has no reference"):
        judge(verifier, None, "4")


def test_a_reference_without_a_number_is_an_error_of_the_task() -> None:
    with pytest.raises(DataError, match="must hold a number, not 'many'"):
        judge(Numeric(), "many", "4")
