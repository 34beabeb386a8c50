"""Kubernetes quantities (``500m``, ``2Gi``, ``1e3``), as far as Steps share them."""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

__all__ = ["parse_quantity", "share"]

_QUANTITY: Final = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkKMGTPE]i?))?"
)
_DECIMAL: Final = {suffix: Decimal(10) ** (3 * power) for power, suffix in enumerate("num kMGTPE", -3)}
_BINARY: Final = {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)}
_SCALES: Final = _DECIMAL | _BINARY
_LONGEST: Final = 100
"""Characters of a quantity; Kubernetes keeps 18 digits."""
_MOST_ZEROS: Final = 100
"""Of an exponent: 1e999999999 is a number with as many digits."""
_WHOLE: Final = frozenset({"memory", "ephemeral-storage"})


def parse_quantity(quantity: Any) -> Decimal:
    """Return the number a quantity stands for.

    Raises:
        ValueError: It is none.
    """
    text = str(quantity) if isinstance(quantity, str | int | float) else ""
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if (
        match is None
        or abs(int((match[2] or "e0")[1:])) > _MOST_ZEROS
        or (match[3] and match[3] not in _SCALES)
    ):
        raise ValueError('no quantity: write a number such as "500m" or "2Gi"')
    return Decimal(match[1] + (match[2] or "")) * _SCALES.get(match[3] or " ", Decimal(1))


def share(resource: str, quantity: Any, parts: int) -> str:
    """Return an equal part of an amount: whole bytes of memory and storage, thousandths of everything else.

    Raises:
        ValueError: The amount is no quantity.
    """
    amount = parse_quantity(quantity)
    if resource in _WHOLE:
        return str(int(amount.to_integral_value(ROUND_CEILING)) // parts)
    thousandths = int((amount * 1000).to_integral_value(ROUND_CEILING)) // parts
    whole, rest = divmod(thousandths, 1000)
    return f"{thousandths}m" if rest else str(whole)
