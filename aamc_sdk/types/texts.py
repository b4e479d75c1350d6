"""Comparison of questions and answers, and the number or box at the end of an answer."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata

_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_SURROUNDING = " \"'`*_$\u2018\u2019\u201a\u201c\u201d\u201e\u2039\u203a\u00ab\u00bb\u300a\u300b\u300c\u300d\u300e\u300f"
"""Characters around an answer that are not part of it: quotes, emphasis, and LaTeX's signs of formulas."""
_FULL_STOPS = ".\u3002\u0964\u06d4"
"""Full stops: Latin, Chinese and Japanese, Hindi, Urdu."""
_MARKUP = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox)\s*\{([^{}]*)\}|(?<!\\)\\[()\[\]]")
"""LaTeX's marks of text and of formulas; group 1: the marked text."""
_NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
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
_ASCII = {0xFF01 + offset: 0x21 + offset for offset in range(94)} | {0x066B: ".", 0x066C: ",", 0x2212: "-"}
"""The ASCII characters of full-width ones, and of the Arabic separators and the minus sign."""
_SPACE = re.compile(r"(?<=\d)(?:\\,|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))")
"""A space that does not break the line, between thousands."""
_OTHER_DIGIT = re.compile(r"[^\D0-9]")
_SEPARATED = re.compile(r"(?<!\d)\d+(?:(?:[.,]|\{,\})\d+)+")
_COMMAS_GROUP = re.compile(r"[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}(?:\.\d+)?")
"""Commas between thousands, or between lakhs and crores as in India: ``12,34,567.8``."""
_COMMA_DECIMAL = re.compile(r"(?:\d{1,3}(?:\.\d{3})+|\d+),\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}")
"""A decimal comma, or dots between thousands: ``1.234,5``."""
_PAIR = re.compile(r"(?<!\\)([\[(]\s*[-+]?)(\d+,\d+)(?=\s*(?:[\])]|\\right))")
"""Two numbers in brackets; groups: the start, and the numbers."""


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal: runs and logs name texts and users by it without holding them."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def normalized_text(text: str) -> str:
    """Return a text without differences of spacing, case and Unicode form (NFKC): equal for two spellings of one question."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()


def visible_text(text: str) -> str:
    """Return a text without invisible characters: soft hyphens, joiners, spaces of no width and marks of the direction of writing."""
    return _INVISIBLE.sub("", text)


def normalized_answer(text: str) -> str:
    """Return an answer as :func:`normalized_text` does, without the marks around it.

    Invisible characters, quotes and emphasis around it, LaTeX's marks, and a final full stop are left out.
    """
    answer = normalized_text(_MARKUP.sub(r"\1", visible_text(text)))
    return answer.strip(_SURROUNDING).rstrip(_FULL_STOPS).strip(_SURROUNDING) or answer


def last_number(answer: str) -> int | float | None:
    r"""Return the last number in a model's answer, or in its last box; None without a number.

    A whole number is an int with all its digits, unless it has an exponent.
    Numbers may be fractions (``1/2``, or ``\frac{1}{2}`` as in LaTeX) or multiples of powers of ten (``3 \times 10^5``), have
    digits of any script, thousands separators, and a decimal point or comma. A comma alone before exactly three digits
    separates thousands, a point does not: ``1,234`` is 1234, and ``1.234``, ``1,23`` and ``0,123`` have a fraction. ``[1,2]`` and ``(1,2)`` have
    two numbers.
    Formulas are not computed: a box with ``\sqrt{2}``, ``2^{10}`` or ``\pi`` has no number.
    """
    box = last_box(answer)
    text = visible_text(answer if box is None else box).translate(_ASCII)
    text = _PAIR.sub(_as_list, _SPACE.sub("", _OTHER_DIGIT.sub(lambda digit: str(int(digit[0])), text)))
    text = _SEPARATED.sub(_with_point, text)
    text = _FRACTION.sub(_decimal, _UNIT.sub("", _SCIENTIFIC.sub(lambda power: f"{power[1] or 1}e{power[2]}", text)))
    without, formulas = _FORMULA.subn("none", text)
    found = [] if formulas and box is not None else _NUMBER.findall(without)
    written = found[-1] if found else "nan"
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


def _as_list(pair: re.Match[str]) -> str:
    return pair[0] if _COMMAS_GROUP.fullmatch(pair[2]) else pair[1] + pair[2].replace(",", ", ")


def _with_point(number: re.Match[str]) -> str:
    written = number[0].replace("{,}", ",")
    if _COMMAS_GROUP.fullmatch(written):
        return written.replace(",", "")
    return written.replace(".", "").replace(",", ".") if _COMMA_DECIMAL.fullmatch(written) else written.replace(",", ", ")


def _decimal(fraction: re.Match[str]) -> str:
    latex_whole, *latex, plain_whole, above, below = fraction.groups()
    numerator, denominator = (float(part) for part in (*latex, above, below) if part is not None)
    return repr(float(latex_whole or plain_whole or 0) + numerator / denominator) if denominator else "none"
