"""Bytes of the weights, one term for each part of the model."""

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.precisions import Precision, find_precision
from workshop_utils.memory.term import Term
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.parameters import ParameterCounts, count_parameters


def weight_terms(architecture: Architecture, dtype: str) -> tuple[Term, ...]:
    """Return the weights of the whole model in ``dtype``, image tower included.

    A quantised format shrinks weight matrices inside the layers and the image tower; embedding, head, norms,
    biases and router stay bfloat16. Raises WorkshopError for an unknown format and for one with nothing to
    shrink.
    """
    precision = find_precision(dtype)
    counts = count_parameters(architecture)
    if precision.parts is not None and not precision.parts & counts.quantizable.keys():
        raise WorkshopError(
            f"{dtype} stores only {' and '.join(sorted(precision.parts))} in fewer bits, and "
            f"{architecture.name} has none; choose int4 or int8."
        )
    return tuple(weight_term(part, counts, precision) for part in counts.by_part)


def weight_term(part: str, counts: ParameterCounts, precision: Precision) -> Term:
    """Return the term of one part: its parameters times bytes each."""
    parameters = counts.by_part[part]
    quantised = counts.quantizable.get(part, 0) if part in (precision.parts or ()) else 0
    rest = parameters - quantised
    plain = f"{rest:,} parameters × {precision.rest_bits // 8} bytes"
    formula = plain
    if quantised:
        formula = f"{quantised:,} weights × {precision.bits:g} bits ({precision.note})"
        formula += f" + {plain}" if rest else ""
    return Term(
        name=f"weights: {part.replace('_', ' ')}",
        kind="weights",
        bytes=round(quantised * precision.bits / 8) + rest * precision.rest_bits // 8,
        formula=formula,
        source=precision.source if quantised else "sum over the tensors that transformers builds",
        certainty=precision.certainty if quantised else "exact",
    )
