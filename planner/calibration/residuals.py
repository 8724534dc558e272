"""What a fit leaves unexplained, as the statistics that error bands are made of."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from planner.costs.bands import DEVIATIONS
from planner.domain.fits import Residuals

Floats = npt.NDArray[np.float64]
FOLDS = 5
MANY_GROUPS = 10
OTHER_FITS = 2


def residuals_of(measured: npt.ArrayLike, predicted: npt.ArrayLike, groups: Sequence[Hashable]) -> Residuals:
    """Residuals of rows that the fit had not seen.

    The parts that groups share and that rows have of their own are the two variance components of a one-way
    layout (Searle et al. 1992, "Variance components", chapter 3), the shared one about zero, so that a bias
    counts as shared.

    Parameters
    ----------
    groups
        Of each row: what it has in common with others, such as its model and stack.
    """
    ratios = np.asarray(measured, dtype=float) / np.asarray(predicted, dtype=float)
    logs, errors = np.log(ratios), np.abs(1 / ratios - 1)
    shared, own = variance_parts(logs, groups)
    low, high = band_of_groups(logs, groups)
    return Residuals(
        rows=len(logs),
        mape=float(errors.mean()),
        p90=float(np.quantile(errors, 0.9)),
        low=low,
        high=high,
        shared=shared,
        own=own,
        coverage=coverage(logs, groups),
    )


def parts_of(
    measured: npt.ArrayLike,
    predicted: npt.ArrayLike,
    groups: Sequence[Hashable],
    masks: Mapping[str, npt.NDArray[np.bool_]],
) -> dict[str, Residuals]:
    """Residuals of parts of held-out rows, those left out that have no rows.

    Parameters
    ----------
    masks
        Of each part, by its name: which rows belong to it.
    """
    ones, others = np.asarray(measured, dtype=float), np.asarray(predicted, dtype=float)
    return {
        name: residuals_of(ones[mask], others[mask], [groups[index] for index in np.flatnonzero(mask)])
        for name, mask in masks.items()
        if mask.any()
    }


def covers_of(**columns: npt.ArrayLike) -> dict[str, tuple[float, float]]:
    """Least and greatest of each column, for a record's ``covers``."""
    return {name: (float(np.min(values)), float(np.max(values))) for name, values in columns.items()}


def band_of_groups(logs: Floats, groups: Sequence[Hashable]) -> tuple[float, float]:
    """(low, high) that 90 % of the rows of another group are expected in.

    The percentiles of the rows where there are many groups. A few tell little of how groups differ: there
    the shared part counts with Student's quantile (JCGM 100:2008, annex G.3), what is known of other fits
    taken for two groups more.
    """
    low, high = np.quantile(logs, (0.05, 0.95))
    count = len(set(groups))
    if count < MANY_GROUPS:
        shared, own = variance_parts(logs, groups)
        quantile = student.ppf(0.95, count - 1 + OTHER_FITS)
        half_width = np.hypot(quantile * shared, DEVIATIONS * own)
        low, high = min(low, -half_width), max(high, half_width)
    return float(low), float(high)


def coverage(logs: Floats, groups: Sequence[Hashable]) -> float | None:
    """Share of the rows inside the 90 % band of the rows of other groups; none for a single group.

    Groups are dealt into five folds in the order that they first appear in; the band of a fold is that of
    all others.
    """
    index = _group_index(groups)
    folds = index % FOLDS
    if index.max() == 0:
        return None
    inside = 0
    for fold in range(min(FOLDS, int(index.max()) + 1)):
        others = [group for group, at in zip(groups, folds, strict=True) if at != fold]
        low, high = band_of_groups(logs[folds != fold], others)
        own = logs[folds == fold]
        inside += int(((own >= low) & (own <= high)).sum())
    return inside / len(logs)


def variance_parts(logs: Floats, groups: Sequence[Hashable]) -> tuple[float, float]:
    """Standard deviations of the part that the rows of a group share, and of the rest."""
    index = _group_index(groups)
    counts = np.bincount(index)
    means = np.bincount(index, weights=logs) / counts
    freedom = max(1, len(logs) - len(counts))
    own = float(((logs - means[index]) ** 2).sum() / freedom)
    shared = float(np.mean(means**2 - own / counts))
    return float(np.sqrt(max(0.0, shared))), float(np.sqrt(own))


def _group_index(groups: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    names = {name: index for index, name in enumerate(dict.fromkeys(groups))}
    return np.array([names[name] for name in groups])
