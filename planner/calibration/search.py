"""Search coefficients of kernels: least robust error in the logarithm of seconds, held-out rows by folds."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from planner.calibration.attention_rows import Floats, Shapes

FOLDS = 5
SAMPLE = 8
"""One of so many rows decides among options."""
ROBUST = 0.07
"""Errors beyond this share count by their size, smaller ones by its square."""


ROUNDS = 40
"""Of a search; later ones change nothing that held-out rows could tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Coefficients that are searched on a logarithmic scale, and options that are tried one after another."""

    start: Mapping[str, tuple[float, float, float]]
    """Of each coefficient: where its search starts, its least and its greatest value."""
    options: Sequence[Mapping[str, Any]]
    weights: Floats
    """Of each row."""
    predict: Callable[[Mapping[str, Any], Shapes], Floats]

    def values(self, shapes: Shapes) -> dict[str, Any]:
        """The best option and its coefficients."""
        option = self.options[0]
        if len(self.options) > 1:
            sample = np.arange(len(shapes.seconds)) % SAMPLE == 0
            trials = [self._fit(shapes, sample, option) for option in self.options]
            option = self.options[int(np.argmin([cost for _, cost in trials]))]
        found, _ = self._fit(shapes, np.ones(len(shapes.seconds), dtype=bool), option)
        return {**{name: float(f"{value:.4g}") for name, value in found.items()}, **option}

    def held_out(self, shapes: Shapes, folds: npt.NDArray[np.int64], values: Mapping[str, Any]) -> Floats:
        """Predictions of each fold by coefficients fitted to all others, the options those of ``values``."""
        option = {name: value for name, value in values.items() if name not in self.start}
        start = {name: float(values[name]) for name in self.start}
        predicted = np.empty_like(shapes.seconds)
        for fold in range(FOLDS):
            unseen = folds == fold
            found, _ = self._fit(shapes, ~unseen, option, start)
            predicted[unseen] = self.predict({**found, **option}, shapes.chosen(unseen))
        return predicted

    def _fit(
        self,
        shapes: Shapes,
        mask: npt.NDArray[np.bool_],
        option: Mapping[str, Any],
        start: Mapping[str, float] | None = None,
    ) -> tuple[dict[str, float], float]:
        rows, weights = shapes.chosen(mask), self.weights[mask]
        initial, low, high = np.log(np.array(list(self.start.values()))).T
        if start is not None:
            initial = np.clip(np.log(list(start.values())), low, high)

        def errors(logs: Floats) -> Floats:
            values = dict(zip(self.start, np.exp(logs).tolist(), strict=True))
            ratios = self.predict({**values, **option}, rows) / rows.seconds
            return np.asarray(weights * np.log(ratios), dtype=np.float64)

        found = least_squares(
            errors, initial, bounds=(low, high), loss="soft_l1", f_scale=ROBUST, max_nfev=ROUNDS
        )
        return dict(zip(self.start, np.exp(found.x).tolist(), strict=True)), float(found.cost)


def folds_of(groups: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    """The fold of each row; rows of one group stay together, groups are dealt in sorted order."""
    order = {group: index % FOLDS for index, group in enumerate(sorted(set(groups), key=str))}
    return np.array([order[group] for group in groups])
