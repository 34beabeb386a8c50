"""Bring documents into the form in which a cluster with Tekton's webhook stores them."""

from collections.abc import Sequence
from dataclasses import replace

from resultsfw.cli.inputs import Document
from resultsfw.errors import InputError
from resultsfw.tekton.api.spelling import correct_case
from resultsfw.tekton.api.v1beta1 import V1BETA1, convert_to_v1

__all__ = ["admit"]


def admit(documents: Sequence[Document]) -> tuple[list[Document], list[str]]:
    """Correct the case of field names, and convert documents of v1beta1 to v1.

    Returns:
        The documents, and a warning for each field that was corrected, or has no effect.

    Raises:
        InputError: A document cannot be converted; the message names file, document and field.
    """
    admitted, warnings = [], []
    for document in documents:
        try:
            corrected, notes = correct_case(document.obj)
            conversion = convert_to_v1(corrected)
        except InputError as error:
            raise document.refuse(error.message, error.subject, names_field=True) from error
        admitted.append(replace(document, obj=conversion.document))
        dropped = [f"{path}: a deprecated field of {V1BETA1} without effect" for path in conversion.dropped]
        warnings += [f"{document.where}: {line}" for line in (*notes, *dropped)]
    return admitted, warnings
