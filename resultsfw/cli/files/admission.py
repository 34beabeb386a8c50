"""Do to documents what Tekton's admission webhooks do: bring them into the stored form, or refuse them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from resultsfw.cli.files.inputs import Document
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.api.spelling import correct_case
from resultsfw.tekton.api.v1beta1 import V1BETA1, convert_to_v1
from resultsfw.tekton.pipelinerun.admission import pipeline_admission_errors, pipelinerun_admission_errors
from resultsfw.tekton.spec.admission import (
    step_action_admission_errors,
    task_admission_errors,
    taskrun_admission_errors,
)
from resultsfw.tekton.spec.validate_steps import FieldError

__all__ = ["admit", "refuse_as_webhook"]

_CHECKS: Final[Mapping[str, Callable[[Object], Iterable[FieldError]]]] = {
    "Pipeline": pipeline_admission_errors,
    "PipelineRun": pipelinerun_admission_errors,
    "StepAction": step_action_admission_errors,
    "Task": task_admission_errors,
    "TaskRun": taskrun_admission_errors,
}
_MOST: Final = 10
"""Problems of one document that a message names."""
_LONG: Final = 300
"""Characters of a problem that a message has."""


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


def refuse_as_webhook(document: Document) -> None:
    """Refuse a document of valid shape that Tekton's admission webhook would refuse.

    Raises:
        InputError: The message names file, document, and line and field of the first problem.
    """
    problems = list(islice(_CHECKS[document.kind](document.obj), _MOST + 1))
    if not problems:
        return
    shown = [_format(problem) for problem in problems[:_MOST]]
    more = ["and more"] if len(problems) > _MOST else []
    first = problems[0].paths[0] if problems[0].paths else "spec"
    raise document.refuse("; ".join(dict.fromkeys([*shown, *more])), first, names_field=True)


def _format(problem: FieldError) -> str:
    details = f" ({' '.join(problem.details.split())})" if problem.details else ""
    message = problem.message  # it may quote a whole script
    if len(message) > _LONG:
        message = f"{message[:_LONG]}... (cut)"
    return f"{message}: {', '.join(problem.paths[:3])}{details}"
