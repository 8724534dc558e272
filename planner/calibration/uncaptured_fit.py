"""Fit an engine of the first generation, which launches every kernel of every step: no graph is captured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from planner.calibration.known import known_model
from planner.calibration.residuals import residuals_of
from planner.calibration.rows import Row, parse_all, read_rows
from planner.calibration.serving_rows import node_of
from planner.costs.serving.engine_step import Engine
from planner.costs.serving.step_table import step_table
from planner.domain.catalog import read_device, read_generation_stack
from planner.domain.fits import FitRecord
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy
from planner.domain.stack import GenerationStack

Floats = npt.NDArray[np.float64]

NAME = "vllm-0.3.1"
FILE = "end_to_end_generation_splitwise.csv"
SOURCE = "Mutinifni/splitwise-sim @8f99e7dc, MIT"
DATE = "2026-11-20"
COLUMNS = (
    "model",
    "hardware",
    "prompt_size",
    "batch_size",
    "token_size",
    "token_time",
    "tensor_parallel",
)

CONSTANTS = ("step", "sequence", "layer_launch")
START: Floats = np.array([5e-3, 2e-4, 5e-4])
LOWEST: Floats = np.array([0.0, 0.0, 0.0])
HIGHEST: Floats = np.array([0.1, 0.01, 0.005])


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The mean step of one measured batch."""

    model: ModelSpec
    device: str
    tensor: int
    batch: int
    context: float
    """Mean over the response."""
    seconds: float


def fit_uncaptured(folder: Path) -> dict[str, GenerationStack]:
    """The engine of the file, with the residuals of each tensor size under the constants of the others."""
    rows = parse_all(read_rows(folder / FILE, columns=COLUMNS), steps_of)
    sizes = np.array([each.tensor for each in rows])
    held_out = np.zeros(len(rows))
    for tensor in np.unique(sizes):
        others = fitted([each for each in rows if each.tensor != tensor])
        held_out[sizes == tensor] = predicted(others, [each for each in rows if each.tensor == tensor])
    measured = np.array([each.seconds for each in rows])
    parameters = [float(each.model.parameters()) for each in rows]
    record = FitRecord(
        source=SOURCE,
        date=DATE,
        rows=len(rows),
        covers={"parameters": (min(parameters), max(parameters))},
        held_out=residuals_of(measured, held_out, [str(size) for size in sizes]),
    )
    sources = with_source(read_generation_stack(NAME), f"step, sequence, layer_launch: {SOURCE}")
    return {NAME: fitted(rows).model_copy(update={"record": record, "sources": sources})}


def with_source(stack: GenerationStack, source: str) -> tuple[str, ...]:
    """The stack's sources, that of its host work replaced."""
    return source, *(other for other in stack.sources if not other.startswith(("step", "stated")))


def steps_of(row: Row) -> Steps:
    """The steps of a row.

    Raises
    ------
    RowError
        A field is not what its column needs.
    """
    model = known_model(row.text("model"))
    if model is None:
        raise row.error("model", "a model of the catalog")
    return Steps(
        model=model,
        device=row.text("hardware"),
        tensor=row.count("tensor_parallel"),
        batch=row.count("batch_size"),
        context=row.count("prompt_size") + row.count("token_size") / 2,
        seconds=row.number("token_time") / 1e3,
    )


def fitted(rows: Sequence[Steps]) -> GenerationStack:
    """The engine whose constants suit these rows best."""
    measured = np.log([each.seconds for each in rows])

    def errors(scaled: Floats) -> Floats:
        found: Floats = np.log(predicted(with_constants(scaled * START), rows)) - measured
        return found

    found = least_squares(
        errors, np.ones(len(START)), bounds=(LOWEST / START, HIGHEST / START), diff_step=0.01
    )
    return with_constants(found.x * START)


def with_constants(values: Floats) -> GenerationStack:
    """The engine with other constants."""
    rounded = {name: float(f"{value:.4g}") for name, value in zip(CONSTANTS, values, strict=True)}
    return read_generation_stack(NAME).model_copy(update={**rounded, "graph_sequences": 0})


def predicted(stack: GenerationStack, rows: Sequence[Steps]) -> Floats:
    """Seconds of one step of each row, those alike in one call."""
    seconds = np.zeros(len(rows))
    kinds = [(each.model.name, each.device, each.tensor) for each in rows]
    for kind in dict.fromkeys(kinds):
        inside = [index for index, other in enumerate(kinds) if other == kind]
        some = [rows[index] for index in inside]
        engine = Engine(
            model=some[0].model, precision="fp16", node_pool=node_of(read_device(kind[1])), stack=stack
        )
        table = step_table(engine, GenerationStrategy(tensor=kind[2], max_sequences=1))
        batches, contexts = np.array([(each.batch, each.context) for each in some]).T
        seconds[inside] = table.seconds(batches, contexts)
    return seconds
