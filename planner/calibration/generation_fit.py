"""Fit what serving engines add to their kernels: host work per step and per sequence, sustained speed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from planner.calibration.generation import predicted
from planner.calibration.residuals import residuals_of
from planner.calibration.rows import parse_all, read_rows
from planner.calibration.serving_rows import COLUMNS, Point, engine_of, point_of
from planner.calibration.uncaptured_fit import fit_uncaptured, with_source
from planner.costs.serving.engine_step import Engine
from planner.domain.fits import FitRecord
from planner.domain.stack import GenerationStack

Floats = npt.NDArray[np.float64]

FILE = "end_to_end_generation_silicon.csv"
SOURCE = "ai-dynamo/aiconfigurator @095f58a5, Apache-2.0"
DATE = "2026-11-20"

START: Floats = np.array([5e-4, 2e-5, 1.075])
"""Expected constants: seconds per step, seconds per sequence, slowdown of the kernels by a job's heat."""
SPREAD: Floats = np.array([5e-4, 4e-5, 0.02])
"""How far an engine may lie from them, one standard deviation. Steps of one layout alone hardly tell work
per step from slowdown."""
LOWEST: Floats = np.array([0.0, 0.0, 1.0])
HIGHEST: Floats = np.array([0.02, 1e-3, 2.0])
CHANGES: Floats = np.array([1e-4, 5e-6, 0.02])
"""Over which slopes are taken."""
TOLERATED = 0.05
"""Relative error beyond which a point pulls less than in proportion."""


def fit(folder: Path) -> dict[str, GenerationStack]:
    """The serving engines that rows were measured of, by name."""
    points = points_of(folder / FILE)
    names = dict.fromkeys(point.stack.name for point in points)
    stacks = {name: fit_stack([point for point in points if point.stack.name == name]) for name in names}
    return stacks | fit_uncaptured(folder)


def points_of(path: Path) -> list[Point]:
    """Points of 16-bit engines with both latencies."""
    found = parse_all(read_rows(path, columns=COLUMNS), lambda row: point_of(row, None))
    points = [point for point in found if not isinstance(point, str)]
    return [each for each in points if each.precision != "fp8" and each.first_token and each.output_token]


def fit_stack(points: Sequence[Point]) -> GenerationStack:
    """The stack of all points, with the residuals of each layout under the constants of the others."""
    stack = points[0].stack
    lines = lines_of(points, lines_of(points, START).solved())
    held_out = np.zeros((len(points), 2))
    groups = np.array([point.group for point in points])
    for group in dict.fromkeys(groups):
        others = with_constants(stack, lines.part(groups != group).solved())
        held_out[groups == group] = latencies(others, [point for point in points if point.group == group])
    measured = measured_of(points)
    first, output = (
        FitRecord(
            source=SOURCE,
            date=DATE,
            rows=len(points),
            covers=_covers(points),
            held_out=residuals_of(measured[:, column], held_out[:, column], list(groups)),
        )
        for column in (0, 1)
    )
    sources = with_source(stack, f"step, sequence, sustained: {SOURCE}")
    found = {"record": output, "first_token": first, "sources": sources}
    return with_constants(stack, lines.solved()).model_copy(update=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Predicted over measured seconds per output token, as linear in the constants around some of them.

    A step is its kernels, slowed down, and the host's work: linear but for the loop of clients.
    """

    around: Floats
    at: Floats
    slopes: Floats
    """[points, constants]."""

    def part(self, points: npt.NDArray[np.bool_]) -> "Lines":
        """Of some points only."""
        return Lines(around=self.around, at=self.at[points], slopes=self.slopes[points])

    def solved(self) -> Floats:
        """Constants for which predictions come nearest to the measurements."""

        def errors(values: Floats) -> Floats:
            ratios: Floats = self.at + self.slopes @ (values - self.around)
            return np.append(ratios - 1, TOLERATED * (values - START) / SPREAD)

        found = least_squares(
            errors,
            self.around,
            bounds=(LOWEST, HIGHEST),
            x_scale=CHANGES,
            loss="soft_l1",
            f_scale=TOLERATED,
        )
        values: Floats = found.x
        return values


def lines_of(points: Sequence[Point], around: Floats) -> Lines:
    """Predictions around some constants."""
    stack, measured = points[0].stack, measured_of(points)[:, 1]
    inside = np.clip(around, LOWEST, HIGHEST - CHANGES)
    at = latencies(with_constants(stack, inside), points)[:, 1] / measured
    changed = [
        latencies(with_constants(stack, inside + change), points)[:, 1] / measured
        for change in np.diag(CHANGES)
    ]
    return Lines(around=inside, at=at, slopes=(np.array(changed).T - at[:, None]) / CHANGES)


def with_constants(stack: GenerationStack, values: Floats) -> GenerationStack:
    """The stack with other constants."""
    step, sequence, slowdown = values
    constants = {"step": step, "sequence": sequence, "sustained": 1 / slowdown}
    return stack.model_copy(update={name: float(f"{value:.4g}") for name, value in constants.items()})


def latencies(stack: GenerationStack, points: Sequence[Point]) -> Floats:
    """[points, 2]: seconds to the first and per further token, as the stack predicts them."""
    engines: dict[tuple[str, ...], Engine] = {}
    found = []
    for point in points:
        engine = engines.setdefault(point.engine_key, replace(engine_of(point), stack=stack))
        both = predicted(engine, point)
        found.append((both.first_token, both.output_token))
    return np.array(found)


def measured_of(points: Sequence[Point]) -> Floats:
    """The same as measured."""
    return np.array([(point.first_token, point.output_token) for point in points], dtype=np.float64)


def _covers(points: Sequence[Point]) -> dict[str, tuple[float, float]]:
    sizes = {
        "tokens": [point.prompt_tokens + point.response_tokens for point in points],
        "parameters": [point.model.parameters() for point in points],
    }
    return {name: (float(min(values)), float(max(values))) for name, values in sizes.items()}
