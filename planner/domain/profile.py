"""Measurements of model calls on the devices at hand."""

from planner.domain.cluster import DeviceSpec
from planner.domain.dataflow import CallKind
from planner.domain.quantities import PositiveInt, Value


class MeasuredCall(Value):
    """Median seconds of one call in one layout, with every process of the run at work."""

    role: str
    model: str
    kind: CallKind
    method: str
    strategy: str
    """Training or inference layout, in the short form ``p1t2d2``."""
    generation: str | None = None
    """Generation layout ``p1t1x4``, for calls of kind generate."""
    micro_batch: PositiveInt
    samples: PositiveInt
    prompt_tokens: float
    response_tokens: float
    """Mean lengths."""
    seconds: float
    reshard_seconds: float = 0.0
    """Of the seconds, those of the weight sync before generation."""
    repeats: PositiveInt


class Profile(Value):
    """What was measured on one machine, and with which versions."""

    device: DeviceSpec
    """The device with the rates that were measured."""
    processes: PositiveInt
    calls: tuple[MeasuredCall, ...]
    versions: dict[str, str]
    date: str

    def find(
        self,
        *,
        role: str,
        model: str,
        method: str,
        strategy: str,
        generation: str | None,
        micro_batch: int,
        samples: int,
        prompt_tokens: float,
        response_tokens: float,
    ) -> MeasuredCall | None:
        """The measurement of exactly this point, if there is one."""
        for call in self.calls:
            who = (call.role, call.model, call.method)
            layout = (call.strategy, call.generation, call.micro_batch if generation is None else micro_batch)
            work = (call.samples, call.prompt_tokens, call.response_tokens)
            if (
                who == (role, model, method)
                and layout == (strategy, generation, micro_batch)
                and work == (samples, prompt_tokens, response_tokens)
            ):
                return call
        return None
