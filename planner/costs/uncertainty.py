"""Which residuals a call or a role's bytes have, and why some lie outside of what was calibrated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from planner.costs.bands import DEVIATIONS, Term, band_of, widened
from planner.domain.cluster import DeviceSpec, NodePool
from planner.domain.dataflow import ModelCall
from planner.domain.fits import FitRecord, FlatFit, Residuals
from planner.domain.model import Precision
from planner.domain.plan import CallPrediction, Origin, RoleMemory, RoleStrategy
from planner.domain.scenario import Scenario, head_of
from planner.domain.stack import GenerationStack, TrainingStack


def _stated(half_width: float, *, shared: float) -> Residuals:
    """Residuals of a stated 90 % half-width, ``shared`` of its variance in common."""
    deviation = half_width / DEVIATIONS
    return Residuals(
        rows=0,
        mape=0.8 * deviation,
        p90=half_width,
        low=-half_width,
        high=half_width,
        shared=deviation * shared**0.5,
        own=deviation * (1 - shared) ** 0.5,
    )


UNCALIBRATED = _stated(0.4, shared=0.6)
"""Stated: an engine that no measured row was fitted to."""
REPEATED = _stated(0.05, shared=0.0)
"""Stated: a call whose seconds a profile has; medians of repeated calls scatter by a few percent."""
MEMORY = _stated(0.1, shared=0.6)
"""Stated: bytes of activations and buffers. Weights, gradients and optimizer states are exact."""

RELATIVE_HALF_WIDTH = 0.15
"""Stated, as a logarithm: kernels of a device that only its architecture's relative was measured for."""
FLAT_HALF_WIDTH = 0.4
"""Stated: a device that only its data sheet is known of."""
FP8_HALF_WIDTH = 0.25
"""Stated: fp8 kernels are best effort."""
BEYOND_HALF_WIDTH = 0.15
"""Stated: sizes beyond those of the measured rows."""
FORWARD_HALF_WIDTH = 0.15
"""Stated: forward passes by themselves, which training rows have as parts of steps only."""

EXACT_BYTES = frozenset(
    {"parameters", "gradients", "optimizer", "gathered", "generation_weights", "kv_cache"}
)
"""Kinds of bytes during a call that follow from shapes and layouts alone, as all persistent ones do; states
that were offloaded are among them while they are back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """How far a prediction may be off."""

    residuals: Residuals
    outside: tuple[str, ...] = ()
    """Why it lies outside of what was calibrated."""

    def beyond(self, causes: Mapping[str, float]) -> "Uncertainty":
        """The same with further causes of error: reasons and their 90 % half-widths."""
        residuals = self.residuals
        for half_width in causes.values():
            residuals = widened(residuals, half_width)
        return Uncertainty(residuals=residuals, outside=(*self.outside, *causes))


def kernel_uncertainty(
    device: DeviceSpec, record: FitRecord | None, *, kernel: str, precision: Precision = "bf16"
) -> Uncertainty:
    """How far the seconds of one kind of kernel may be off on a device, by the record of its fit."""
    return _recorded(record, kernel).beyond(_device_causes(device) | _precision_causes(precision))


def banded_call(
    call: ModelCall,
    prediction: CallPrediction,
    strategy: RoleStrategy,
    node_pool: NodePool,
    scenario: Scenario,
) -> CallPrediction:
    """The prediction with its 90 % band, and why it lies outside of what was calibrated."""
    found = call_uncertainty(call, prediction.origin, strategy, node_pool, scenario)
    low, high = band_of(prediction.seconds, found.residuals)
    return prediction.model_copy(
        update={"seconds_low": float(low), "seconds_high": float(high), "outside": found.outside}
    )


def banded_memory(memory: RoleMemory) -> RoleMemory:
    """The bytes with their 90 % band during each call."""
    return memory.model_copy(
        update={"bands": {name: _bytes_band(memory, kinds) for name, kinds in memory.transient.items()}}
    )


def _bytes_band(memory: RoleMemory, kinds: Mapping[str, int]) -> tuple[int, int]:
    exact = sum(size for kind, size in kinds.items() if kind in EXACT_BYTES) + memory.persistent_bytes
    low, high = band_of(sum(size for kind, size in kinds.items() if kind not in EXACT_BYTES), MEMORY)
    return exact + math.floor(low), exact + math.ceil(high)


def term_of(
    call: ModelCall,
    prediction: CallPrediction,
    strategy: RoleStrategy,
    node_pool: NodePool,
    scenario: Scenario,
) -> Term:
    """The call as a part of a plan's seconds."""
    found = call_uncertainty(call, prediction.origin, strategy, node_pool, scenario)
    return Term(
        seconds=prediction.seconds,
        residuals=found.residuals,
        kind=(stack_of(call, scenario).name, node_pool.device.name),
        identity=(call.name, strategy, node_pool.name),
    )


def call_uncertainty(
    call: ModelCall, origin: Origin, strategy: RoleStrategy, node_pool: NodePool, scenario: Scenario
) -> Uncertainty:
    """How far the seconds of a call may be off.

    Calls read from a profile scatter as its repeats do. Calls that a profile corrects keep the part of
    their own, since the profile's factor has taken up what they share.
    """
    if origin == "measured":
        return Uncertainty(residuals=REPEATED)
    stack = stack_of(call, scenario)
    recorded = _recorded(stack.record, stack.name)
    if origin == "scaled":
        return Uncertainty(residuals=_own_part(recorded.residuals))
    sizes = {
        "devices": strategy.layout.devices,
        "tokens": scenario.workload.mean_tokens,
        "parameters": scenario.model_of(call.role).parameters(head_of(call.role)),
    }
    causes = engine_causes(stack, node_pool.device, scenario.precision)
    if call.kind == "infer":
        causes["forward passes measured as parts of steps only"] = FORWARD_HALF_WIDTH
    return recorded.beyond(causes | _size_causes(stack.record, sizes))


def engine_causes(
    stack: TrainingStack | GenerationStack, device: DeviceSpec, precision: Precision
) -> dict[str, float]:
    """Further causes of error of an engine on a device: reasons and their 90 % half-widths.

    Rows of a training engine on an architecture tell of the kernels as well, whatever device and precision
    those were measured in.
    """
    measured = stack.speeds if isinstance(stack, TrainingStack) and stack.record else {}
    if f"{device.architecture}/{precision}" in measured:
        return {}
    on_device = {} if device.architecture in measured else _device_causes(device)
    return on_device | _precision_causes(precision)


def stack_of(call: ModelCall, scenario: Scenario) -> TrainingStack | GenerationStack:
    """The engine that runs a call."""
    return scenario.stack.generation if call.kind == "generate" else scenario.stack.training


def _recorded(record: FitRecord | None, name: str) -> Uncertainty:
    if record is None:
        return Uncertainty(residuals=UNCALIBRATED, outside=(f"nothing measured of {name}",))
    return Uncertainty(residuals=record.held_out)


def _own_part(residuals: Residuals) -> Residuals:
    whole = math.hypot(residuals.shared, residuals.own)
    share = residuals.own / whole if whole else 1.0
    return residuals.model_copy(
        update={"low": residuals.low * share, "high": residuals.high * share, "shared": 0.0}
    )


def _device_causes(device: DeviceSpec) -> dict[str, float]:
    kernels = device.kernels
    if kernels.relative:
        return {f"{device.name} by its relative {kernels.relative}": RELATIVE_HALF_WIDTH}
    flat = isinstance(kernels.gemm, FlatFit) or isinstance(kernels.attention, FlatFit)
    return {f"{device.name} by its data sheet alone": FLAT_HALF_WIDTH} if flat else {}


def _precision_causes(precision: Precision) -> dict[str, float]:
    return {"fp8 is best effort": FP8_HALF_WIDTH} if precision == "fp8" else {}


def _size_causes(record: FitRecord | None, sizes: Mapping[str, float]) -> dict[str, float]:
    """Sizes beyond those of the rows, by more than a quarter."""
    covers = record.covers if record else {}
    return {
        f"{_count(sizes[name])} {name}, measured {_count(low)} to {_count(high)}": BEYOND_HALF_WIDTH
        for name, (low, high) in covers.items()
        if name in sizes and not low / 1.25 <= sizes[name] <= 1.25 * high
    }


def _count(number: float) -> str:
    return f"{number / 1e9:.3g} billion" if number >= 1e9 else f"{number:g}"
