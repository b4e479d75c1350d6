import pytest
from aamc_agents.calculator import as_text, evaluate, expression_in
from aamc_agents.tool import AgentError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("expression", "value"),
    [("2 + 3 * 4", 14), ("(2 + 3) * 4", 20), ("-7 // 2", -4), ("2 ** 10", 1024), ("7 % 4", 3), ("max(3, sqrt(16))", 4), ("round(2.675, 1)", 2.7)],
)
def test_arithmetic_has_its_usual_value(expression: str, value: float) -> None:
    assert evaluate(expression) == value


@given(st.integers(-999, 999), st.integers(-999, 999), st.integers(1, 999), st.sampled_from("+-*"), st.sampled_from("+-*"))
def test_whole_numbers_are_exact(a: int, b: int, c: int, first: str, second: str) -> None:
    assert evaluate(f"({a} {first} {b}) {second} {c}") == eval(f"({a} {first} {b}) {second} {c}")


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "().__class__",
        "open('/etc/passwd')",
        "[x for x in (1, 2)]",
        "'a' * 3",
        "True",
        "1j",
        "lambda: 1",
        "abs",
        "round(number=2)",
        "9 ** 9 ** 9",
        "(-8) ** 0.5",
        "1e308 * 10",
        "1 / 0",
        "2 ** -5000",
        "round(5, -25000000)",
        "round(5, 25000000)",
        "round(5, -10 ** 1000)",
        "round(1, 2, 3)",
        "1 << 3",
        "(" * 900 + "1" + ")" * 900,
        "+".join("1" * 1500),
        "",
    ],
)
def test_what_is_no_arithmetic_or_too_large_is_refused(expression: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        evaluate(expression)


def test_large_whole_numbers_need_not_fit_a_float() -> None:
    assert evaluate("2 ** 2000 + round(1250, -2)") == 2**2000 + 1200


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("What is 12 * (3 + 4)?", "12 * (3 + 4)"),
        ("3 + 4", "3 + 4"),
        ("Q1: what is 3 + 4?", "3 + 4"),
        ("42", "42"),
        ("Work out the value of 3 + 4, the total price of our products over years. Again: 3 + 4", "3 + 4"),
        ("What is 2024-1990?", "2024-1990"),
        ("What is 1000/10/5?", "1000/10/5"),
        ("What is 6 x 7?", "6 * 7"),
        ("6x7", "6 * 7"),
        ("6 \u00d7 7", "6 * 7"),
        ("12 \u00d7 3 \u00f7 4", "12 * 3 / 4"),
        ("What is 2 x 3 + 4?", "2 * 3 + 4"),
        ("What is 3 + 4 \u00d7 2?", "3 + 4 * 2"),
        ("What is (1 + 2) x (3 + 4)?", "(1 + 2) * (3 + 4)"),
        ("What is 12 * (3 + 4)? Answer in less than ten words.", "12 * (3 + 4)"),
        ("What is 12*3? Please add a unit.", "12*3"),
        ("What is \u22123 + 4?", "-3 + 4"),
        ("3\u22121", "3-1"),
        ("The sum is **3 + 4** pears.", "3 + 4"),
        ("The sum is *3 + 4* pears.", "3 + 4"),
        ("Compute:\n- 3 + 4", "- 3 + 4"),
        ("Compute this\n* 3 + 4", "3 + 4"),
        ("The sum \u2014 3 + 4 \u2014 is asked.", "3 + 4"),
    ],
)
def test_an_expression_is_found_in_prose(text: str, expression: str) -> None:
    assert expression_in(text).strip() == expression


@pytest.mark.parametrize("text", ["What is 12 * 3", "What is 12 * 3 and why", "12 * 3 in total", "12 * 3 is what"])
def test_prose_that_python_could_read_is_searched_too(text: str) -> None:
    assert expression_in(text) == "12 * 3"


@pytest.mark.parametrize(
    "text",
    [
        "What is 2^3 + 4?",
        "What is 3 x 10^5 + 1?",
        "What is sqrt(9) + 1?",
        "What is 1,5 + 2?",
        "What is 2 + 3k?",
        "What is 0x10 + 1?",
        "What is 2x (3 + 4)?",
        "What is \u221a9 + 1?",
        "What is |3 - 5|?",
        "What is \u230a7/2\u230b?",
        "What is \u20133 + 4?",
        "What is two * 3 + 4?",
        "What is ten - 3 + 4?",
        "What is two*3 + 4?",
        "What is 3 + 4 * two?",
        "What is 3 + 4/x?",
        "What is 3 + 4\u2030?",
    ],
)
def test_a_part_of_an_expression_is_not_taken_for_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"no expression|'sqrt' may be arithmetic outside the expression"):
        expression_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "What is 10% + 5%?",
        "50% - 20%",
        "50% - 20",
        "What is 100 + 10%?",
        "5 % of 200 + 3",
        "increase 200 by 10% + 5",
        "What is 17 % 5?",
        "15% of 80",
    ],
)
def test_a_percent_sign_is_not_taken_for_a_remainder(text: str) -> None:
    with pytest.raises(ValueError, match="'%' may mean percent or a remainder"):
        expression_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "5 percent of 200 + 3",
        "What is 2 times 3 + 4?",
        "Half of 2 + 4",
        "3 + 4 squared",
        "Twice 3 + 4, please",
        "square root of 9 + 16",
        "Multiply 3 + 4 by 2",
        "Add 5 to 3 * 4",
        "Divide 10 + 2 by 3",
        "Subtract 3 from 4 * 5",
        "the product of 3 + 4 and 2",
        "17 mod 5 + 1",
        "3 to the power of 2 + 1",
        "2 to the 3rd power + 1 + 2",
        "3/4 of 20 + 8",
        "12 over 4 + 2",
        "the absolute value of 3 - 5",
        "5 more than 3 * 4",
        "sqrt of 9 + 16",
        "3 + 4 factorial",
        "the reciprocal of 2 + 2",
        "the negative of 3 + 4",
        "What is 3 + 4 raised?",
        "Add five to 3 * 4",
        "Take 3 * 4. Add a dozen.",
        "Take 3 * 4. Find seven more than that.",
    ],
)
def test_prose_with_arithmetic_in_words_is_not_answered_in_part(text: str) -> None:
    with pytest.raises(ValueError, match="may be arithmetic outside the expression"):
        expression_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "increase 2 + 3 by 4",
        "take 3 away from 4 * 5",
        "2 + 3 raised to 2",
        "If x is 3, what is 2 + 3?",
        "A car drives 60 km/h for 2 + 1 hours",
        "3 + 4 km, 1,000 times as far",
        "Reduce 2 + 3 by .5",
        "Work out the value of 3 + 4, the total price of our products over 2 years. Again: 3 + 4",
    ],
)
def test_prose_with_a_number_outside_the_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"may be arithmetic outside the expression|no expression|a number outside its expression"):
        expression_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "2024-11-25 to today, how many days?",
        "12:30 + 15 minutes, please",
        "By 11/25/2024, please",
        "11/25/24 + 3 days",
        "How many days are there from 2024/11/25 on?",
        "How long since 2024-1-5?",
        "How long since 25-11-2024?",
    ],
)
def test_a_date_or_a_time_is_not_taken_for_arithmetic(text: str) -> None:
    with pytest.raises(ValueError, match="a date or a time"):
        expression_in(text)


@pytest.mark.parametrize("text", ["Between 2 + 2 and 10 * 10 * 10.", "How many are 3 * 4 sold in 2010-2015?"])
def test_none_of_several_expressions_is_picked(text: str) -> None:
    with pytest.raises(ValueError, match="several expressions"):
        expression_in(text)


@pytest.mark.parametrize(("text", "value"), [("10 % 3", 1), ("2 * (17%5)", 4), ("10 % (-3)", -2)])
def test_a_text_that_is_an_expression_may_have_a_remainder(text: str, value: int) -> None:
    assert evaluate(expression_in(text)) == value


def test_thousands_may_be_separated() -> None:
    assert evaluate(expression_in("What is 1,200,000 + 50?")) == 1_200_050


def test_a_program_is_not_searched_for_expressions() -> None:
    with pytest.raises(ValueError, match="'=' may assign or compare"):
        expression_in("total = 12\nprint(total + 3 * 8)")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.0, "4"),
        (0.1 + 0.2, "0.3"),
        (100.1 - 100, "0.1"),
        (1 / 3, "0.333333333333"),
        (10**30, str(10**30)),
        (-2, "-2"),
        (1234567.25 * 7654321, "9449774027587.25"),
        (12345678.3 - 0.1, "12345678.2"),
        (-98765432101234 / 2, "-49382716050617"),
        (1e15, "1000000000000000"),
        (9007199254740994.0, "9007199254740994"),
        (1e16, "1e+16"),
        (1e300, "1e+300"),
    ],
)
def test_numbers_are_written_as_people_do(value: float, text: str) -> None:
    assert as_text(value) == text


def test_the_agent_works_on_what_was_said_last(say) -> None:
    assert say("calculator", "What is 2 + 2?") == "4"
    assert say("calculator", "What is 2 + 2?", "1 + 1", "6 * 7") == "42"


def test_a_failed_call_is_billed_like_any_other(say) -> None:
    with pytest.raises(AgentError, match="cannot compute 'Hello': 'Hello' is not arithmetic") as raised:
        say("calculator", "Hello", billed_seconds=3.0)
    assert raised.value.cost == pytest.approx(0.003)
