"""Fit how fast kernels run inside the trainer of an RL framework: one speed for all of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from planner.calibration.residuals import residuals_of
from planner.calibration.rl_rows import COLUMNS, TRAINER, Iteration, iteration_of
from planner.calibration.rows import parse_all, read_rows
from planner.costs.passes.inference import inference_seconds
from planner.costs.passes.training import training_seconds
from planner.domain.catalog import read_training_stack
from planner.domain.fits import FitRecord
from planner.domain.stack import ANY, Speeds, TrainingStack

Floats = npt.NDArray[np.float64]

FILE = "end_to_end_rl.csv"
SOURCE = "ISEEKYAN/verl_megatron_practice @dfd811ad, Apache-2.0"
DATE = "2026-11-20"
SLOWEST, FASTEST = 0.2, 1.0
PHASES = ("update", "logprobs")


def fit(folder: Path) -> dict[str, TrainingStack]:
    """The trainer of the file by its name, with the residuals of each row under the others' speed."""
    rows = parse_all(read_rows(folder / FILE, columns=COLUMNS), lambda row: iteration_of(row, None))
    iterations = [row for row in rows if not isinstance(row, str) and set(PHASES) <= row.measured.keys()]
    measured, held_out, groups = [], [], []
    for left_out in iterations:
        stack = fitted([each for each in iterations if each is not left_out])
        measured += [left_out.measured[name] for name in PHASES]
        held_out += list(predicted(stack, left_out))
        groups += [f"{left_out.name} {name}" for name in PHASES]
    record = FitRecord(
        source=SOURCE,
        date=DATE,
        rows=len(iterations),
        held_out=residuals_of(measured, held_out, groups),
    )
    stack = fitted(iterations)
    sources = (f"speeds: {SOURCE}", *(other for other in stack.sources if not other.startswith("speeds")))
    return {TRAINER: stack.model_copy(update={"record": record, "sources": sources})}


def fitted(iterations: Sequence[Iteration]) -> TrainingStack:
    """The trainer with the speed that suits updates and log-probabilities best."""

    def error(speed: float) -> float:
        ratios = [
            np.log(predicted(with_speed(speed), each) / [each.measured[name] for name in PHASES])
            for each in iterations
        ]
        return float(np.abs(ratios).mean())

    found = minimize_scalar(error, bounds=(SLOWEST, FASTEST), method="bounded", options={"xatol": 1e-3})
    return with_speed(float(found.x))


def with_speed(speed: float) -> TrainingStack:
    """The trainer with all kernels at a share of their own speed."""
    share = round(speed, 3)
    speeds = Speeds(products=share, attention=share, streams=share, ends=share)
    return read_training_stack(TRAINER).model_copy(update={"speeds": {ANY: speeds}})


def predicted(stack: TrainingStack, iteration: Iteration) -> Floats:
    """Seconds of `PHASES`."""
    setting = iteration.setting
    own = replace(setting, stack=setting.stack.model_copy(update={"training": stack}))
    return np.array([training_seconds(own, iteration.update), inference_seconds(own, iteration.inference)])
