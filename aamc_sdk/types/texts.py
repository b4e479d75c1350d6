"""Comparison of questions and answers, and the number or box at the end of an answer."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata

_SURROUNDING = " \"'`*_$\u201c\u201d\u2018\u2019\u00ab\u00bb"
"""Characters around an answer that are not part of it: quotes, emphasis, and LaTeX's signs of formulas."""
_MARKUP = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox)\s*\{([^{}]*)\}|(?<!\\)\\[()\[\]]")
"""LaTeX's marks of text and of formulas; group 1: the marked text."""
_NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_INNER = r"(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*"
"""What braces hold, with two levels of braces in it."""
_BOXED = re.compile(rf"\\boxed\{{({_INNER})\}}")
_PLAIN = r"\d{1,15}(?:\.\d{1,15})?"
_FRACTION = re.compile(
    rf"(?:(?<![\d.])(\d{{1,15}}) ?)?\\[cdt]?frac\s*(?:\{{\s*(-?{_PLAIN})\s*\}}|(\d))\s*(?:\{{\s*({_PLAIN})\s*\}}|(\d))"
    rf"|(?<![\d./])(?:(\d{{1,15}}) )?({_PLAIN}) ?/ ?({_PLAIN})(?![\d/])"
)
"""A fraction, also of one digit each (``\\frac12``) or after a whole number (``2\\frac{1}{2}``, ``2 1/2``), in LaTeX or with a slash."""
_TIMES = r" ?(?:\\cdot|\\times|\*|·|\u00d7) ?"
_SCIENTIFIC = re.compile(rf"(?:({_PLAIN})(?:{_TIMES}| ?x ?))?(?<![\d.])10 ?(?:\^|\*\*) ?\{{?(-?\d{{1,3}})\}}?")
"""A power of ten with its factor: ``3 \\times 10^{5}``."""
_UNIT = re.compile(rf"(?<=[A-Za-z}}])\^(?:\{{{_INNER}\}}|-?\w)|\^ ?\{{?\\circ\}}?")
"""The exponent of a unit or a variable, or the sign of degrees."""
_FORMULA = re.compile(
    rf"(?:{_PLAIN}(?:{_TIMES}| ?))?(?:√|\\sqrt\s*(?:\[[^\]]{{0,9}}\])?|\\[cdt]?frac\s*\{{{_INNER}\}})"
    rf"\s*(?:\{{{_INNER}\}}|\({_PLAIN}\)|{_PLAIN})?(?: ?/ ?{_PLAIN})?"
    rf"|(?:{_PLAIN}(?:{_TIMES}| ?))?(?:\\pi|π)|{_PLAIN} ?(?:\^|\*\*) ?(?:\{{{_INNER}\}}|-?\w)"
)
"""A root, a fraction of formulas, a multiple of pi or a power: a number, but not one that is compared."""
_WHOLE = re.compile(r"([-+]?\d+)(?:\.0*)?")
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\,)(?=\d{3})")


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal: runs and logs name texts and users by it without holding them."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def normalized_text(text: str) -> str:
    """Return a text without differences of spacing, case and Unicode form (NFKC): equal for two spellings of one question."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()


def normalized_answer(text: str) -> str:
    """Return an answer as :func:`normalized_text` does, without quotes and emphasis around it, LaTeX's marks, and a final full stop."""
    answer = normalized_text(_MARKUP.sub(r"\1", text))
    return answer.strip(_SURROUNDING).rstrip(".").strip(_SURROUNDING) or answer


def last_number(answer: str) -> int | float | None:
    r"""Return the last number in a model's answer, or in its last box; None without a number.

    A whole number is an int with all its digits, unless it has an exponent.
    Numbers may have thousands separators, and be fractions (``1/2``, or ``\frac{1}{2}`` as in LaTeX) or multiples of
    powers of ten (``3 \times 10^5``).
    Formulas are not computed: a box with ``\sqrt{2}``, ``2^{10}`` or ``\pi`` has no number.
    """
    box = last_box(answer)
    text = _THOUSANDS.sub("", (answer if box is None else box).replace("\u2212", "-"))
    text = _FRACTION.sub(_decimal, _UNIT.sub("", _SCIENTIFIC.sub(lambda power: f"{power[1] or 1}e{power[2]}", text)))
    without, formulas = _FORMULA.subn("none", text)
    found = [] if formulas and box is not None else _NUMBER.findall(without)
    written = found[-1].replace(",", "") if found else "nan"
    if not math.isfinite(float(written)):
        return None
    whole = _WHOLE.fullmatch(written)
    return int(whole[1]) if whole else float(written)


def same_number(found: float, wanted: float, *, relative: float, absolute: float) -> bool:
    """Return whether two numbers are equal: whole numbers exactly, others within a relative or an absolute tolerance."""
    if isinstance(found, int) and isinstance(wanted, int):  # in long arithmetic, a wrong digit is far below any relative tolerance
        return found == wanted
    return math.isclose(found, wanted, rel_tol=relative, abs_tol=absolute)


def last_box(answer: str) -> str | None:
    r"""Return the content of the last box in a model's answer, as in LaTeX: ``\boxed{42}``; None without a box."""
    boxed = _BOXED.findall(answer)
    return boxed[-1] if boxed else None


def _decimal(fraction: re.Match[str]) -> str:
    latex_whole, *latex, plain_whole, above, below = fraction.groups()
    numerator, denominator = (float(part) for part in (*latex, above, below) if part is not None)
    return repr(float(latex_whole or plain_whole or 0) + numerator / denominator) if denominator else "none"
