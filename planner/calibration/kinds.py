"""The kinds of measured rows that can be scored, by the names of the command line."""

from collections.abc import Mapping
from types import MappingProxyType

from planner.calibration import (
    attention_decode,
    attention_prefill,
    collective,
    gemm,
    generation,
    rl,
    training,
    weight_sync,
)
from planner.calibration.evaluation import Kind
from planner.domain.mistakes import closest
from planner.errors import SpecError

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "training": training,
        "generation": generation,
        "gemm": gemm,
        "attention-prefill": attention_prefill,
        "attention-decode": attention_decode,
        "collective": collective,
        "rl": rl,
        "weight-sync": weight_sync,
    }
)


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises
    ------
    SpecError
        There is none.
    """
    if name not in KINDS:
        raise SpecError(f"no kind {name!r}{closest(name, KINDS)}; known: {', '.join(KINDS)}")
    return KINDS[name]
