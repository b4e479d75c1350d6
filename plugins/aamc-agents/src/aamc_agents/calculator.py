"""Agent ``calculator``: evaluates arithmetic expressions, and no other code."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, Tool, subject
from aamc_sdk import Candidate

Number = int | float
MAX_CHARACTERS = 2_000
"""Longer expressions are refused, as is nesting that Python's own parser refuses."""
MAX_BITS = 4_096
"""Integers with more bits are refused before they are computed."""


def _round(value: Number, *digits: int) -> Number:
    """Round as Python does, but compute no power of ten with more than MAX_BITS digits."""
    if any(abs(count) > MAX_BITS for count in digits):
        raise ValueError(f"a number is rounded to more than {MAX_BITS} digits")
    return round(value, *digits)


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "max": max,
    "min": min,
    "round": _round,
    "sqrt": math.sqrt,
}
_RUN = re.compile(r"[\d\s.()+*/-]+")
_NO_START, _NO_END = ".*/ \t\r\n", ".(+*/- \t\r\n"
"""Characters that no expression starts or ends with. They are stripped after the search, as a pattern that excludes them takes quadratic time."""
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_TIMES = re.compile(r"(?<=[\d)])(?:\s*\u00d7\s*|\s+x\s+)(?=[\d(])|(?<=\d)(?<!\b0)x(?=\d)")
"""Signs of multiplication; ``0x10`` is a hexadecimal number, and ``2x (3 + 4)`` may have a variable."""
_DIVIDED = re.compile(r"(?<=[\d)])\s*\u00f7\s*(?=[\d(])")
_MARGIN = 4
"""Characters next to an expression that show whether it goes on there."""
_GOES_ON_BEFORE = re.compile(
    r"(?:\w|[\d)]\s*[x\u00d7\u00b7\u00f7^]\s*|\d,|[\u2010-\u2015]|[|~\u00b1\u2016\u207b\u220f\u2211\u2213\u221a-\u221c\u222b\u2308\u230a]\s*)$"
)
_GOES_ON_AFTER = re.compile(r"\w|\s*[x\u00d7\u00b7\u00f7^]\s*[\d(]|,\d|\s*[|\u2016\u2030\u2309\u230b]|[*/+]\w|[ \t]+[*/+][ \t]+\w")
"""Signs such as roots, sums, bars and dashes, and words as operands: what stands between them is a part of a larger expression."""
_OPERAND_BEFORE = re.compile(r"\w(?:[ \t]*[*/+-][ \t]+|[*/])$")
"""A word and an operator, as in ``two * 3 + 4``."""
_OPERATION = re.compile(r"[\d)]\s*[+*/-]")
_PERCENT = re.compile(r"%\s*[+-]")
"""A percent sign, as in ``50% - 20``; Python reads a remainder of a division by -20."""
_WORDS = re.compile(
    r"(?<=\d)\s+(?:of|over)\s+(?=[\d(])"
    r"|\b(?:add(?:ed)?|cubed|divided?|double|factorial|half|minus|mod(?:ulo)?|multipl(?:ied|y)|negative|per\s?cent|plus"
    r"|raised|reciprocal|root|sqrt|squared|subtract(?:ed)?|times|triple|twice"
    r"|(?:absolute value|average|cube|difference|logarithm|mean|power|product|quarter|quotient|ratio|remainder|square|sum|thirds?) of"
    r"|to the(?: \w+)? power|(?:less|more) than)\b",
    re.IGNORECASE,
)
"""Words that show that prose has more arithmetic than its expressions, as in ``5 percent of 200 + 3``."""
_MANNER = re.compile(
    r"\bin (?:no )?(?:less|more) than [a-z]+ (?:word|sentence|line|character)s?\b"
    r"|(?<=[.?!])\s+(?:please )?add (?:an? |the |your )?(?:comment|currency|explanation|reasons?|sentence|units?)\s*(?=[.!]|$)",
    re.IGNORECASE,
)
"""Requests about the answer's form, whose words are not arithmetic."""
_NUMBER = re.compile(r"(?<!\w)\d")
_DATE = re.compile(r"\d:\d|\b\d{4}-\d\d-\d\d\b|\b(?:1[5-9]|20)\d\d([/-])\d\d?\1\d\d?\b|\b\d\d?/\d\d?/\d\d(?:\d\d)?\b|\b\d\d?-\d\d?-\d{4}\b")
"""A date or a time in prose, whose signs are not arithmetic."""


class Calculator(Tool):
    """Evaluates the expression in the last output."""

    spec = Candidate("calculator", "Evaluates an arithmetic expression of numbers, such as 3 * (4 + 5), and gives the number.")

    async def act(self, state: TaskState) -> str:
        """Return the expression's value."""
        text = subject(state)
        try:
            return as_text(evaluate(expression_in(text)))
        except (ArithmeticError, ValueError) as error:
            raise AgentError(f"cannot compute {text!r:.80}: {error}") from error


def expression_in(text: str) -> str:
    """Return the text if it is an expression, else the only expression in it.

    Raises:
        ValueError: The text has no expression, or several, or a number outside it, as in ``increase 2 + 3 by 4``. A text with an assignment
            is a program and is not searched, nor is one with ``%``, which prose has for percent, with arithmetic in words, or with a date or a time.
    """
    text = text.replace("\N{MINUS SIGN}", "-")
    if _parses(text) and not _PERCENT.search(text):
        return text
    if _NUMBER.search(text):
        _check_prose(text)
    prose = _DIVIDED.sub(" / ", _TIMES.sub(" * ", _THOUSANDS.sub("", text)))
    found = {run for run in _runs(prose) if _OPERATION.search(run) and _parses(run)}
    if len(found) != 1:
        raise ValueError("it has several expressions" if found else "it has no expression of numbers, parentheses and + - * / alone")
    expression = found.pop()
    if _NUMBER.search(prose.replace(expression, "")):
        raise ValueError("it has a number outside its expression")
    return expression


def _check_prose(text: str) -> None:
    """Raise ValueError if prose has a sign, a word or a date that makes the meaning of its numbers uncertain."""
    if "%" in text:
        raise ValueError("'%' may mean percent or a remainder")
    if "=" in text:
        raise ValueError("'=' may assign or compare; give the expression alone")
    if word := _WORDS.search(_MANNER.sub(" ", text)):
        raise ValueError(f"{word[0].strip()!r} may be arithmetic outside the expression; give the expression alone")
    if date := _DATE.search(text):
        raise ValueError(f"{date[0]!r} may be a part of a date or a time")


def _runs(text: str) -> Iterator[str]:
    """Yield possible expressions in prose; never a part of a larger one, such as ``3 + 4`` in ``2^3 + 4`` or ``(9) + 1`` in ``sqrt(9) + 1``."""
    for run in _RUN.finditer(text):
        rest = run[0].lstrip(_NO_START)
        found, begin = rest.rstrip(_NO_END), run.end() - len(rest)
        before, after = text[max(begin - _MARGIN, 0) : begin], text[begin + len(found) : begin + len(found) + _MARGIN]
        signs = found[: len(found) - len(found.lstrip("+- \t"))]
        if found and not (_GOES_ON_BEFORE.search(before) or _OPERAND_BEFORE.search(before + signs) or _GOES_ON_AFTER.match(after)):
            yield found


def _parses(text: str) -> bool:
    """Return whether a text is an expression, and not prose that Python could read too, such as ``What is 3 * 4``."""
    if len(text) > MAX_CHARACTERS:  # it would be refused, after seconds of parsing
        return False
    try:
        whole = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # the parser raises these for deep nesting and null bytes
        return False
    return not isinstance(whole.body, ast.Compare | ast.BoolOp | ast.IfExp)


def evaluate(expression: str) -> Number:
    """Return an expression's value. Names, attributes, strings and all other code are refused.

    Raises:
        ValueError: The expression is not arithmetic, or too large.
        ArithmeticError: A division by zero or an overflow.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ValueError(f"it is longer than {MAX_CHARACTERS} characters")
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(f"it is not an expression ({error})") from error
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"its value is {value}")
    return value


def _value(node: ast.expr) -> Number:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _small(node.value)  # type: ignore[arg-type]  # its type was checked
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            _check_power(left, right)
        return _small(_BINARY[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and not node.keywords:
        return _small(_FUNCTIONS[node.func.id](*map(_value, node.args)))
    raise ValueError(f"{ast.unparse(node)!r:.40} is not arithmetic")


def _small(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError(f"a number has more than {MAX_BITS} bits")
    return value


def _check_power(base: Number, exponent: Number) -> None:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MAX_BITS:
        raise ValueError(f"a power has more than {MAX_BITS} bits")


def as_text(value: Number) -> str:
    """Return a number as text: 4 for 4.0; other floats with twelve digits, or with six decimals where those are more."""
    if isinstance(value, int):
        return str(value)
    if abs(value) < 1e6:
        return f"{value:.12g}"
    value = round(value, 6)
    return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)
