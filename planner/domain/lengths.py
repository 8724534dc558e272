"""How long prompts and responses are: one length, or a distribution of lengths that ends at a maximum."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from planner.domain.quantities import PositiveInt, Value

Floats = NDArray[np.float64]

QUANTILES = 1000
"""Equal parts that a histogram's or a trace's probability is cut into; lengths are uniform inside each."""
_WAYS = ("mean", "median", "histogram", "trace")
_TAIL = 1 - 10.0 ** -np.arange(3.25, 9.1, 0.25)
"""Further probabilities at which a lognormal is known."""


class TokenLengths(Value):
    """Lengths of prompts or responses. A bare number means all equal.

    Written as ``{mean, maximum}`` they are maximum x Beta(1, k) with k = maximum / mean - 1; with ``sigma``
    they are lognormal, and ``median`` may say the same as ``mean``. ``{histogram: {edges, counts}, maximum}``
    gives the lengths' frequencies, ``{trace: FILE, maximum}`` a file of measured ones. What is longer than
    the maximum ends there, as engines end it; the mean is that of what is left.
    """

    mean: float = Field(gt=0)
    maximum: PositiveInt
    sigma: float | None = Field(default=None, gt=0, le=5)
    """Standard deviation of the logarithm, before what is too long is cut."""
    quantiles: tuple[float, ...] | None = None
    """Lengths below which 0, 1, ... all of ``QUANTILES`` equal parts lie; from a histogram or a trace."""

    @model_validator(mode="before")
    @classmethod
    def _from_other_ways(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"mean": value, "maximum": value}
        if not isinstance(value, dict | TokenLengths):
            raise ValueError("write a whole number of tokens, as 1024, or {mean: 700, maximum: 1024}")
        return _described(value) if isinstance(value, dict) and "quantiles" not in value else value

    @model_validator(mode="after")
    def _check(self) -> "TokenLengths":
        if self.mean > self.maximum:
            raise ValueError(f"mean ({self.mean:g}) must not exceed maximum ({self.maximum})")
        if self.sigma is not None and self.mean > _LONGEST_MEAN * self.maximum:
            raise ValueError(
                f"no lognormal that is cut at {self.maximum} has a mean of {self.mean:g}; write a smaller "
                "mean or a greater maximum"
            )
        if self.quantiles is not None and (self.sigma is not None or not _are_quantiles(self)):
            raise ValueError(
                f"quantiles are {QUANTILES + 1} rising lengths up to the maximum, of the same mean and with "
                "no sigma; write a histogram or a trace instead"
            )
        return self

    @property
    def is_constant(self) -> bool:
        return self.mean == self.maximum

    @property
    def spread(self) -> float:
        """k of maximum x Beta(1, k); 0 for equal lengths."""
        return self.maximum / self.mean - 1

    def survival(self, tokens: Floats) -> Floats:
        """Share of the lengths that are greater than ``tokens``, an array of any shape."""
        if self._is_beta:
            share = np.clip(tokens / self.maximum, 0.0, 1.0)
            return np.asarray(np.where(share < 1, (1 - share) ** self.spread, 0.0))
        levels, lengths = _table(self)
        return np.where(tokens < self.maximum, 1 - np.interp(tokens, lengths, levels), 0.0)

    def quantile(self, share: Floats) -> Floats:
        """Lengths below which such shares of all lie, an array of any shape."""
        if self.is_constant:
            return np.full(np.shape(share), float(self.maximum))
        if self._is_beta:
            return np.asarray(self.maximum * (1 - (1 - share) ** (1 / self.spread)))
        levels, lengths = _table(self)
        return np.interp(share, levels, lengths)

    @property
    def mean_square(self) -> float:
        """E[L^2]."""
        if self._is_beta:
            return 2 * self.mean * self.maximum / (self.spread + 2)
        levels, lengths = _table(self)
        low, high = lengths[:-1], lengths[1:]
        return float(np.sum(np.diff(levels) * (low * low + low * high + high * high) / 3))

    @property
    def variance(self) -> float:
        return max(0.0, self.mean_square - self.mean**2)

    def scaled(self, factor: float) -> "TokenLengths":
        """Lengths so many times as long, cut at the same maximum; equal ones move with their maximum."""
        if factor == 1.0:
            return self
        if self.is_constant:
            tokens = max(1, round(self.maximum * factor))
            return TokenLengths(mean=tokens, maximum=tokens)
        if self.quantiles is not None:
            return _of_quantiles([factor * length for length in self.quantiles], self.maximum)
        if self.sigma is None:
            return self.model_copy(update={"mean": min(self.mean * factor, float(self.maximum))})
        mu = _mu_of(self.mean, self.sigma, self.maximum) + math.log(factor)
        mean = min(_cut_mean(mu, self.sigma, self.maximum), _LONGEST_MEAN * self.maximum)
        return self.model_copy(update={"mean": mean})

    @property
    def _is_beta(self) -> bool:
        return self.sigma is None and self.quantiles is None


def _described(value: dict[str, Any]) -> dict[str, Any]:
    """Fields of lengths that are written in one of the ways that people write them."""
    ways = [way for way in _WAYS if way in value]
    if len(ways) != 1:
        found = f"found {' and '.join(ways)}" if ways else "found none of them"
        raise ValueError(f"say one of mean, median, histogram or trace; {found}")
    if "histogram" in value or "trace" in value:
        if "sigma" in value:
            raise ValueError(f"sigma is a lognormal's; {ways[0]} has a shape already")
        rest = {key: item for key, item in value.items() if key not in (*_WAYS, "maximum")}
        return {**rest, **_of_frequencies(value).model_dump()}
    if "median" not in value:
        return value
    rest = {key: item for key, item in value.items() if key != "median"}
    median, sigma, maximum = (value.get(key) for key in ("median", "sigma", "maximum"))
    if not (_is_positive(median) and _is_positive(sigma) and _is_positive(maximum)):
        raise ValueError("a median needs numbers above 0 for itself, sigma and maximum")
    if median >= maximum:
        raise ValueError(f"median ({median:g}) must be less than maximum ({maximum:g})")
    return {**rest, "mean": _cut_mean(math.log(median), sigma, maximum)}


def _is_positive(number: Any) -> TypeGuard[float]:
    return _is_number(number) and number > 0


def _is_number(number: Any) -> TypeGuard[float]:
    return isinstance(number, int | float) and not isinstance(number, bool) and abs(number) <= _LARGEST


def _of_frequencies(value: dict[str, Any]) -> TokenLengths:
    """Lengths of a histogram, or of a trace, each of whose lengths has the same share."""
    if "trace" in value:
        lengths = _trace(value["trace"])
        maximum = _limit(value.get("maximum"), lengths[-1])
        shares = np.linspace(0, 1, QUANTILES + 1)
        cut = np.minimum(lengths, maximum)
        return _of_quantiles(np.quantile(cut, shares, method="hazen").tolist(), maximum)
    edges, counts = _histogram(value["histogram"])
    maximum = _limit(value.get("maximum"), edges[-1])
    below = np.concatenate([[0.0], np.cumsum(counts)]) / np.sum(counts)
    return _of_quantiles(np.interp(np.linspace(0, 1, QUANTILES + 1), below, edges).tolist(), maximum)


def _trace(lengths: Any) -> list[float]:
    """Sorted."""
    if not isinstance(lengths, list) or not lengths or not all(map(_is_positive, lengths)):
        raise ValueError("a trace is a file of lengths above 0, or a list of them")
    return sorted(map(float, lengths))


def _histogram(histogram: Any) -> tuple[list[float], list[float]]:
    """(Edges, counts)."""
    if not isinstance(histogram, dict) or set(histogram) != {"edges", "counts"}:
        raise ValueError("a histogram is {edges: [0, 512, 1024], counts: [3, 1]}")
    edges, counts = histogram["edges"], histogram["counts"]
    if not isinstance(edges, list) or not isinstance(counts, list) or len(edges) != len(counts) + 1:
        raise ValueError("a histogram has one edge more than counts")
    if not all(map(_is_number, edges)) or any(low >= high for low, high in pairwise(edges)) or edges[0] < 0:
        raise ValueError("a histogram's edges are rising numbers from 0 on")
    if not all(map(_is_number, counts)) or min(counts, default=0) < 0 or sum(counts) <= 0:
        raise ValueError("a histogram's counts are numbers from 0 on, at least one of them above 0")
    return list(map(float, edges)), list(map(float, counts))


def _limit(maximum: Any, longest: float) -> int:
    """The maximum, or where none is given the longest length."""
    found = math.ceil(longest) if maximum is None else maximum
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= _LARGEST:
        raise ValueError(f"maximum is a whole number of tokens above 0, not {maximum!r:.40}")
    return found


def _of_quantiles(quantiles: Sequence[float], maximum: int) -> TokenLengths:
    cut = np.minimum(quantiles, maximum)
    mean = float(np.mean((cut[1:] + cut[:-1]) / 2))
    if mean == maximum:
        return TokenLengths(mean=maximum, maximum=maximum)
    return TokenLengths(mean=mean, maximum=maximum, quantiles=tuple(cut.tolist()))


def _are_quantiles(lengths: TokenLengths) -> bool:
    """Whether the quantiles are those of lengths with this mean and maximum."""
    found = np.array(lengths.quantiles)
    if len(found) != QUANTILES + 1 or not np.all(np.isfinite(found)):
        return False
    mean = float(np.mean((found[1:] + found[:-1]) / 2))
    inside = found[0] >= 0 and found[-1] <= lengths.maximum
    return bool(inside and np.all(np.diff(found) >= 0) and math.isclose(mean, lengths.mean, rel_tol=1e-6))


@lru_cache(maxsize=256)
def _table(lengths: TokenLengths) -> tuple[Floats, Floats]:
    """(Shares, lengths below which they lie) of a distribution that is not Beta, the last one the maximum."""
    if lengths.quantiles is not None:
        return np.linspace(0, 1, QUANTILES + 1), np.array(lengths.quantiles)
    assert lengths.sigma is not None, "lengths that are not Beta are lognormal or have quantiles"
    mu, normal = _mu_of(lengths.mean, lengths.sigma, lengths.maximum), NormalDist()
    shares = np.concatenate([np.arange(1, QUANTILES) / QUANTILES, _TAIL])
    found = np.exp(mu + lengths.sigma * np.array([normal.inv_cdf(float(share)) for share in shares]))
    cut = np.minimum(np.concatenate([[0.0], found, [lengths.maximum]]), lengths.maximum)
    return np.concatenate([[0.0], shares, [1.0]]), cut


def _mu_of(mean: float, sigma: float, maximum: int) -> float:
    """Mean of the logarithm of the lognormal that has this mean once it is cut; by bisection."""
    low, high = math.log(mean) - 40 * sigma, math.log(maximum) + 40 * sigma
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _cut_mean(middle, sigma, maximum) < mean else (low, middle)
    return (low + high) / 2


def _cut_mean(mu: float, sigma: float, maximum: float) -> float:
    """E[min(X, maximum)] of a lognormal X (limited expected value, Klugman et al., "Loss Models", app. A)."""
    normal, at = NormalDist(), (math.log(maximum) - mu) / sigma
    return math.exp(mu + sigma**2 / 2) * normal.cdf(at - sigma) + maximum * (1 - normal.cdf(at))


_LARGEST = 10**12
"""Number in a histogram or a trace."""
_LONGEST_MEAN = 0.999
"""Of the maximum, what the mean of a lognormal that is cut there stays below."""
