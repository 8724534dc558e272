"""Fit what training engines make of their kernels: speeds by architecture, host time, overlaps.

Constants are logarithms with a normal prior, so that rows move only what they tell something of, and a
constant that no row tells anything of stays where it is stated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from planner.calibration.residuals import residuals_of
from planner.calibration.rows import read_rows
from planner.calibration.training_batches import Floats, batches_of, predicted_seconds
from planner.calibration.training_rows import COLUMNS, Measured, measured_of
from planner.domain.catalog import read_training_stack
from planner.domain.fits import FitRecord
from planner.domain.stack import ANY, Speeds, TrainingStack

TRAINING_FILE = "end_to_end_training.csv"
DATE = "2026-11-20"
DIGITS = 4
"""That constants are written with."""
SCATTER = 0.02
"""Logarithm beyond which a row counts as an outlier, whose pull grows no further."""

OWN_ENGINE, OWN_ENGINE_ROWS = "megatron-core", "nemo"
"""The engine of the runtime takes the constants of these rows, which Megatron-Core was measured in."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is thought of a constant before any row: its median, the deviation of its logarithm, bounds."""

    median: float
    deviation: float
    low: float
    high: float


SPEEDS = {
    "products": Prior(0.9, 0.15, 0.3, 1.25),
    "attention": Prior(0.9, 0.3, 0.15, 1.0),
    "streams": Prior(0.7, 0.5, 0.15, 1.0),
    "ends": Prior(0.85, 0.3, 0.2, 1.25),
}
"""By architecture; attention and products apart, the architectures of a stack share one value."""
ENGINE = {
    "layer_launch": Prior(3e-4, 1.0, 1e-5, 5e-3),
    "rank_wait": Prior(0.02, 1.0, 1e-4, 0.3),
    "send": Prior(2e-4, 1.0, 1e-5, 5e-3),
    "gradient_exposed": Prior(0.2, 0.5, 0.02, 1.0),
    "tensor_exposed": Prior(0.5, 0.7, 0.05, 1.0),
}
"""The exposed shares are what the overlaps of a stack leave."""


def fit(folder: Path) -> dict[str, TrainingStack]:
    """The training engines that rows were measured of, and the runtime's own, by name."""
    by_stack: dict[str, list[Measured]] = {}
    for row in measured_rows(folder / TRAINING_FILE):
        by_stack.setdefault(row.job.stack.name, []).append(row)
    stacks: dict[str, TrainingStack] = {}
    for name, own in sorted(by_stack.items(), key=lambda item: -len(models_of(item[1]))):
        is_alone = len(models_of(own)) == 1
        stacks[name] = fit_stack(own, like=stacks.get(OWN_ENGINE_ROWS) if is_alone else None)
    products = products_by_architecture(list(stacks.values()))
    for name, stack in stacks.items():
        is_alone = len(models_of(by_stack[name])) == 1
        usual = stacks.get(OWN_ENGINE_ROWS, stack) if is_alone else stack
        speeds = {**carried(usual, products), **stack.speeds}
        stacks[name] = stack.model_copy(update={"speeds": speeds})
    if OWN_ENGINE_ROWS in stacks:
        stacks[OWN_ENGINE] = own_engine(stacks[OWN_ENGINE_ROWS])
    return stacks


def measured_rows(path: Path) -> list[Measured]:
    """The rows of a file that can be evaluated, repetitions of one measurement once."""
    found = [measured_of(row, None) for row in read_rows(path, columns=COLUMNS)]
    rows = [row for row in found if not isinstance(row, str)]
    return list({(row.choice, row.sizes, row.sequences, round(row.seconds, 3)): row for row in rows}.values())


def models_of(rows: Sequence[Measured]) -> list[str]:
    """Names of the rows' models."""
    return list(dict.fromkeys(row.job.model.name for row in rows))


def fit_stack(rows: Sequence[Measured], *, like: TrainingStack | None = None) -> TrainingStack:
    """The stack of all rows, with the residuals of each model under the constants of the others.

    Parameters
    ----------
    like
        The stack whose constants those of a stack with one model only are expected near.
    """
    seconds = np.array([row.seconds for row in rows])
    held_out = held_out_seconds(rows, like=like)
    stack = fitted(rows, like=like)
    record = FitRecord(
        source=", ".join(dict.fromkeys(row.source for row in rows)),
        date=DATE,
        rows=len(rows),
        covers=covers(rows),
        held_out=residuals_of(seconds, held_out, [row.group for row in rows]),
    )
    return stack.model_copy(update={"record": record})


def held_out_seconds(rows: Sequence[Measured], *, like: TrainingStack | None = None) -> Floats:
    """Every row as a fit to the other models predicts it; to the other layouts of the only model."""
    folds = [row.job.model.name for row in rows]
    if len(set(folds)) == 1:
        folds = [str(row.sizes) for row in rows]
    predicted = np.zeros(len(rows))
    for fold in dict.fromkeys(folds):
        inside = np.array([each == fold for each in folds])
        others = [row for row, out in zip(rows, inside, strict=True) if not out]
        stack = fitted(others or rows, like=like)
        predicted[inside] = predicted_seconds(
            batches_of([row for row, out in zip(rows, inside, strict=True) if out]), stack
        )
    return predicted


def fitted(rows: Sequence[Measured], *, like: TrainingStack | None = None) -> TrainingStack:
    """The rows' stack with the constants that explain them best, the least far from those of another stack.

    Rows of one model are much alike: ten times as many count three times as much.
    """
    stack = rows[0].job.stack
    keys = speed_keys(rows)
    priors = constants_of(keys, hides_gradients=stack.sharding != "none")
    if like is not None:
        priors = {name: near(prior, like, name) for name, prior in priors.items()}
    batches = batches_of(rows)
    seconds = np.array([row.seconds for row in rows])
    weights = model_weights(rows)
    medians = np.log([prior.median for prior in priors.values()])
    deviations = np.array([prior.deviation for prior in priors.values()])

    def misses(values: Floats) -> Floats:
        constants = dict(zip(priors, np.exp(values), strict=True))
        logs = np.log(predicted_seconds(batches, with_constants(stack, keys, constants)) / seconds)
        return np.concatenate([weights * softened(logs / SCATTER), (values - medians) / deviations])

    bounds = [(math.log(prior.low), math.log(prior.high)) for prior in priors.values()]
    found = least_squares(
        misses, medians, bounds=tuple(zip(*bounds, strict=True)), diff_step=1e-3, max_nfev=30
    )
    constants = dict(zip(priors, np.exp(found.x), strict=True))
    return with_constants(stack, keys, constants, digits=DIGITS)


def softened(scaled: Floats) -> Floats:
    """Roots of a loss that is quadratic near 0 and linear far from it (Charbonnier et al. 1994)."""
    softer: Floats = np.sign(scaled) * np.sqrt(2 * (np.sqrt(1 + scaled**2) - 1))
    return softer


def model_weights(rows: Sequence[Measured]) -> Floats:
    """Weight of each row's residual."""
    names = [(row.job.model.name, row.job.device.name, row.job.precision) for row in rows]
    counts = {name: names.count(name) for name in set(names)}
    return np.array([counts[name] ** -0.25 for name in names])


def speed_keys(rows: Sequence[Measured]) -> tuple[str, ...]:
    """Architectures of the rows, and those whose fp8 has products of its own."""
    architectures = dict.fromkeys(row.job.device.architecture for row in rows)
    low = dict.fromkeys(f"{row.job.device.architecture}/fp8" for row in rows if row.job.precision == "fp8")
    return (*architectures, *low)


def constants_of(keys: Sequence[str], *, hides_gradients: bool) -> dict[str, Prior]:
    """Names of the constants with their priors; a plain all-reduce of gradients runs beside nothing."""
    found = {f"products {key}": SPEEDS["products"] for key in keys}
    found |= {f"attention {key}": SPEEDS["attention"] for key in keys if "/" not in key}
    found |= {name: SPEEDS[name] for name in ("streams", "ends")} | ENGINE
    return {name: prior for name, prior in found.items() if hides_gradients or name != "gradient_exposed"}


def near(prior: Prior, stack: TrainingStack, name: str) -> Prior:
    """The prior about what a stack has, but for products, which differ by architecture."""
    usual = stack.speeds_on(ANY, "bf16") if ANY in stack.speeds else next(iter(stack.speeds.values()))
    medians = {
        "streams": usual.streams,
        "ends": usual.ends,
        "attention": usual.attention,
        "layer_launch": stack.layer_launch,
        "rank_wait": stack.rank_wait,
        "send": stack.send,
        "gradient_exposed": 1 - stack.gradient_overlap,
        "tensor_exposed": 1 - stack.tensor_overlap,
    }
    median = medians.get(name.split()[0], prior.median)
    return replace(prior, median=min(max(median, prior.low), prior.high))


def with_constants(
    stack: TrainingStack, keys: Sequence[str], constants: dict[str, float], *, digits: int = 12
) -> TrainingStack:
    """The stack with other constants, rounded to so many digits."""
    rounded = {name: float(f"{value:.{digits}g}") for name, value in constants.items()}
    speeds = {
        key: Speeds(
            products=rounded[f"products {key}"],
            attention=rounded[f"attention {key.split('/')[0]}"],
            streams=rounded["streams"],
            ends=rounded["ends"],
        )
        for key in keys
    }
    return stack.model_copy(
        update={
            "speeds": speeds,
            "layer_launch": rounded["layer_launch"],
            "rank_wait": rounded["rank_wait"],
            "send": rounded["send"],
            "gradient_overlap": round(1 - rounded.get("gradient_exposed", 1.0), digits),
            "tensor_overlap": round(1 - rounded["tensor_exposed"], digits),
        }
    )


def products_by_architecture(stacks: Sequence[TrainingStack]) -> dict[str, float]:
    """Speed of linear maps on each architecture, the geometric mean of the stacks measured there."""
    logs: dict[str, list[float]] = {}
    for stack in stacks:
        for key, speeds in stack.speeds.items():
            logs.setdefault(key, []).append(math.log(speeds.products))
    return {key: math.exp(sum(values) / len(values)) for key, values in logs.items()}


def carried(stack: TrainingStack, products: dict[str, float]) -> dict[str, Speeds]:
    """The stack's speeds, and on architectures that it was not measured on the products of other stacks."""
    own = [speeds for key, speeds in stack.speeds.items() if "/" not in key]
    usual = Speeds(
        products=_mean([speed for key, speed in products.items() if "/" not in key]),
        attention=_mean([speeds.attention for speeds in own]),
        streams=_mean([speeds.streams for speeds in own]),
        ends=_mean([speeds.ends for speeds in own]),
    )
    others = {
        key: usual.model_copy(update={"products": float(f"{value:.{DIGITS}g}")})
        for key, value in products.items()
    }
    return {**others, **stack.speeds, ANY: usual}


def _mean(values: Sequence[float]) -> float:
    return float(f"{math.exp(sum(map(math.log, values)) / len(values)):.{DIGITS}g}")


def own_engine(measured: TrainingStack) -> TrainingStack:
    """The runtime's engine with the constants of the stack that measured it."""
    names = ("speeds", "layer_launch", "rank_wait", "send", "gradient_overlap", "tensor_overlap", "record")
    return read_training_stack(OWN_ENGINE).model_copy(
        update={name: getattr(measured, name) for name in names}
    )


def covers(rows: Sequence[Measured]) -> dict[str, tuple[float, float]]:
    """Least and greatest sizes of the rows."""
    sizes = {
        "devices": np.array([row.devices for row in rows]),
        "tokens": np.array([row.job.tokens for row in rows]),
        "parameters": np.array([row.job.model.parameters() for row in rows]),
    }
    return {name: (float(values.min()), float(values.max())) for name, values in sizes.items()}
