"""Write quantities as Go's ``resource.Quantity`` stores them, for the hash of a status.

Source: ``k8s.io/apimachinery/pkg/api/resource`` (``ParseQuantity`` and ``CanonicalizeBytes``), without its
slow path: numbers beyond 64 bits, fractions of binary units and exponents (``1e3``) are refused.
"""

import re
from typing import Final

__all__ = ["canonical_quantity"]

_QUANTITY: Final = re.compile(r"([+-]?)([0-9]{0,18})(?:\.([0-9]{0,9}))?([numkMGTPE]|[KMGTPE]i)?")
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {f"{letter}i": 10 * power for power, letter in enumerate("KMGTPE", 1)}
_SUFFIXES: Final = {power: suffix for suffix, power in _DECIMAL.items()}
_MOST_DIGITS: Final = 18  # maxInt64Factors
_MOST: Final = 2**63 - 1
_SMALLEST: Final = -9
_BINARY_DIGITS: Final = 15
_REUSED_BITS: Final = 7


def canonical_quantity(text: str) -> str:
    """Return a quantity as Go writes it after it read it; some spellings are kept.

    Raises:
        ValueError: It is not a quantity, or Go reads it by a path that is not rebuilt here.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise ValueError("a quantity of a form that is not rebuilt here")
    if text == "0":
        return text
    number, fraction, suffix = match[2].lstrip("0"), match[3] or "", match[4] or ""
    number = number or "0"
    sign = -1 if match[1] == "-" else 1
    digits = number + fraction
    binary = _BINARY.get(suffix)
    if binary is None:
        scale = _DECIMAL[suffix] - len(fraction)
        value = int(digits)
        if len(digits) > _MOST_DIGITS or scale < _SMALLEST:
            raise ValueError("a quantity with more digits than are rebuilt here")
        if _is_multiple_of_three(scale) and not digits.endswith("000") and digits[0] != "0":
            return text
        return _decimal(sign * value, scale)
    # What Go computes in single precision is exact for these exponents.
    if fraction or _BINARY_DIGITS - len(number) - binary * 3 // 10 - 1 < 0:
        raise ValueError("a quantity with more binary digits than are rebuilt here")
    value = int(digits)
    amount = value << binary
    if amount > _MOST:
        raise ValueError("a quantity beyond 64 bits")
    if value & _REUSED_BITS:
        return text
    return _binary(sign * amount)


def _decimal(amount: int, exponent: int) -> str:
    """Return an amount times a power of ten, with the suffix of the largest third power that divides it.

    Raises:
        ValueError: No suffix stands for it.
    """
    if amount == 0:
        return "0"
    while amount % 10 == 0:
        amount //= 10
        exponent += 1
    while not _is_multiple_of_three(exponent):
        amount *= 10
        exponent -= 1
    if abs(amount) > _MOST or exponent not in _SUFFIXES:
        raise ValueError("a quantity beyond the suffixes")
    return f"{amount}{_SUFFIXES[exponent]}"


def _binary(amount: int) -> str:
    """Return a whole amount with the suffix of the largest power of 1024 that divides it."""
    if -1024 < amount < 1024:  # noqa: PLR2004 - the unit itself
        return _decimal(amount, 0)
    power = 0
    while amount % 1024 == 0:
        amount //= 1024
        power += 1
    return f"{amount}{('', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei')[power]}"


def _is_multiple_of_three(number: int) -> bool:
    return number % 3 == 0
