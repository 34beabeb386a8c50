"""Define types of plugins' options whose refusals say in words what is expected, and show no pattern."""

import re
from typing import Annotated, Any, Final, TypeAlias

from pydantic import StringConstraints, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

__all__ = ["Quantity", "bytes_of", "in_words"]

_PATTERN_MISMATCH: Final = "string_pattern_mismatch"
"""pydantic's type of the error whose message shows the pattern."""

_QUANTITY: Final = re.compile(r"([0-9]{1,18})(?:\.[0-9]{1,9})?(|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)")
_UNITS: Final = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def in_words(rule: str) -> WrapValidator:
    """Return a validator that says a rule where a text does not match the pattern of its type.

    It stands in ``Annotated`` behind the `StringConstraints` with the pattern, which the JSON schema shows.

    Args:
        rule: Such as "must be a folder's absolute path".
    """

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            if any(fault["type"] == _PATTERN_MISMATCH for fault in error.errors(include_input=False)):
                raise ValueError(rule) from None
            raise

    return WrapValidator(validate)


Quantity: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,18}(\.[0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"),
    in_words("must be a quantity of Kubernetes, such as 10m (CPU) or 64Mi (memory)"),
]
"""An option with an amount of CPU or memory."""


def bytes_of(quantity: object) -> int:
    """Return the bytes of a quantity, its fraction left out; 0 for a form that is not used for memory."""
    match = _QUANTITY.fullmatch(str(quantity))
    return int(match[1]) * _UNITS[match[2]] if match else 0
