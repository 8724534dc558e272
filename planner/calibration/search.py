"""Search coefficients of kernels: least robust error in the logarithm of seconds, held-out rows by folds."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

Floats = npt.NDArray[np.float64]

FOLDS = 5
SAMPLE = 5
"""One of so many rows decides which options are tried on all."""
FINALISTS = 3
ROBUST = 0.07
"""Errors beyond this share count by their size, smaller ones by its square."""


ROUNDS = 40
"""Of a search; later ones change nothing that held-out rows could tell."""


class Measured(Protocol):
    """Rows as arrays."""

    @property
    def seconds(self) -> Floats:
        """Measured, one per row."""
        ...

    def chosen(self, mask: npt.NDArray[np.bool_]) -> Self:
        """The rows where the mask is true."""
        ...


_Rows = TypeVar("_Rows", bound=Measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Generic[_Rows]):
    """Coefficients that are searched on a logarithmic scale, and options that are tried one after another."""

    start: Mapping[str, tuple[float, float, float]]
    """Of each coefficient: where its search starts, its least and its greatest value."""
    options: Sequence[Mapping[str, Any]]
    weights: Floats
    """Of each row."""
    predict: Callable[[Mapping[str, Any], _Rows], Floats]

    def values(self, shapes: _Rows) -> dict[str, Any]:
        """The best option and its coefficients."""
        rows = len(shapes.seconds)
        options = list(self.options)
        if len(options) > FINALISTS:
            sample = np.arange(rows) % SAMPLE == 0
            options.sort(key=lambda option: self._fit(shapes, sample, option)[1])
        trials = [
            (*self._fit(shapes, np.ones(rows, dtype=bool), option), option) for option in options[:FINALISTS]
        ]
        found, _, option = min(trials, key=lambda trial: trial[1])
        return {**{name: float(f"{value:.4g}") for name, value in found.items()}, **option}

    def held_out(self, shapes: _Rows, folds: npt.NDArray[np.int64], values: Mapping[str, Any]) -> Floats:
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
        shapes: _Rows,
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
