"""Data-sheet rates of a device by precision."""

from planner.domain.cluster import DeviceSpec
from planner.domain.model import Precision
from planner.errors import SpecError


def peak_flops_per_s(device: DeviceSpec, precision: Precision) -> float:
    """Peak FLOP/s of dense matrices in a precision.

    Raises
    ------
    SpecError
        If the device file states no peak for the precision.
    """
    if precision not in device.peak:
        known = ", ".join(device.peak)
        raise SpecError(
            f"{device.name}: peak names no {precision} (known: {known}); add it or change precision"
        )
    return device.peak[precision]
