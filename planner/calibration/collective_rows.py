"""Measured collectives, and the seconds that the costs predict for them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from planner.calibration.rows import Row
from planner.costs.links.collectives import (
    Channel,
    Numbers,
    all_gather_seconds,
    all_reduce_seconds,
    all_to_all_seconds,
    broadcast_seconds,
    group_channel,
    reduce_scatter_seconds,
    send_seconds,
    small_all_reduce_seconds,
)
from planner.domain.cluster import DeviceSpec, LinkSpec, NodePool
from planner.domain.fits import CollectiveFit

Floats = npt.NDArray[np.float64]
OPS = {
    "all_reduce": "all_reduce",
    "allreduce": "all_reduce",
    "all_reduce_custom": "engine",
    "custom_allreduce": "engine",
    "all_gather": "all_gather",
    "allgather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "broadcast": "broadcast",
    "send_recv": "send",
}
"""Operations by the names that measured rows have for them; ``engine`` is a serving engine's all-reduce."""

PORT = LinkSpec(bandwidth="400 Gbit/s", latency="5 us")
"""Network of each device where rows span nodes, which name none: an InfiniBand NDR port."""
ONE_DOMAIN = re.compile(r"gb\d")
"""Systems whose nodes share one NVLink domain, such as GB200 NVL72."""
SWITCH_REDUCES_SINCE = (0, 15)
"""vLLM that reduces in the switch by itself; 0.14 is measured without, 0.19 with it."""
NARROW_REDUCTION = 1.05
"""Seconds of reducing one-byte over two-byte elements; measured on A100 and H100."""
SECONDS: Mapping[str, Callable[[Channel, Numbers], Numbers]] = MappingProxyType(
    {
        "all_reduce": all_reduce_seconds,
        "all_gather": all_gather_seconds,
        "reduce_scatter": reduce_scatter_seconds,
        "all_to_all": all_to_all_seconds,
        "broadcast": broadcast_seconds,
        "send": send_seconds,
    }
)
COPY_SHARE = 0.9
"""Of the memory bandwidth, at which an engine copies a buffer that no graph has registered."""
COPY_LAUNCH_S = 4e-6
"""What that copy takes beside moving bytes."""

LARGE_BYTES = 4 * 2**20
LARGE, SMALL = "4 MiB and more", "below 4 MiB"
"""Parts of a record: from `LARGE_BYTES` on bandwidth decides, below latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measured collective."""

    line: int
    source: str
    system: str
    library: str
    op: str | None
    """A value of `OPS`; none for a name that it lacks."""
    op_name: str
    is_narrow: bool
    """Whether elements are of one byte."""
    ranks: int
    nodes: int
    full_bytes: float
    seconds: float

    @property
    def engine(self) -> str | None:
        """The serving engine whose own kernel it is; those unknown have vLLM's."""
        if self.op != "engine":
            return None
        return "trtllm" if self.library.casefold().startswith("trtllm") else "vllm"

    @property
    def part(self) -> str:
        """The part of a record that it belongs to."""
        return LARGE if self.full_bytes >= LARGE_BYTES else SMALL

    @property
    def is_eager(self) -> bool:
        """Whether the host launches it each time, where a graph would replay it."""
        return self.library.casefold().endswith("eager")

    @property
    def has_switch(self) -> bool:
        """Whether the library reduces such elements in the switch."""
        version = re.match(r"vllm-(\d+)\.(\d+)", self.library.casefold())
        is_old = version is not None and tuple(map(int, version.groups())) < SWITCH_REDUCES_SINCE
        return not self.is_narrow and not is_old


def measured_of(row: Row) -> Measured:
    """A row with every field checked."""
    name = row.text("op")
    return Measured(
        line=row.line,
        source=row.optional_text("source") or "unknown",
        system=row.optional_text("system") or "",
        library=row.optional_text("library") or "",
        op=OPS.get(name.casefold()),
        op_name=name,
        is_narrow=(row.optional_text("dtype") or "") in ("int8", "fp8", "float8"),
        ranks=row.count("num_gpus"),
        nodes=row.optional_count("num_nodes") or 1,
        full_bytes=row.number("bytes"),
        seconds=row.number("latency_ms") / 1e3,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that are predicted together."""

    example: Measured
    """One of them; they differ from it in what the arrays say."""
    places: npt.NDArray[np.int64]
    """Of the rows among all."""
    ranks: npt.NDArray[np.int64]
    full_bytes: Floats


def batches_of(rows: Sequence[Measured]) -> list[Batch]:
    """Rows by what may not differ in an array: the operation, the library's kind, and nodes if several."""
    keys: dict[tuple[object, ...], list[int]] = {}
    for place, row in enumerate(rows):
        spread = None if row.nodes == 1 else (row.nodes, row.ranks)
        key = (row.op, row.engine, row.is_eager, row.is_narrow, row.has_switch, spread)
        keys.setdefault(key, []).append(place)
    return [
        Batch(
            example=rows[places[0]],
            places=np.array(places),
            ranks=np.array([rows[place].ranks for place in places]),
            full_bytes=np.array([rows[place].full_bytes for place in places]),
        )
        for places in keys.values()
    ]


def predicted_seconds(device: DeviceSpec, batches: Sequence[Batch]) -> Floats:
    """Seconds of every row of the batches on a device."""
    seconds = np.zeros(sum(len(batch.places) for batch in batches))
    for batch in batches:
        seconds[batch.places] = _seconds(device, batch.example, batch.ranks, batch.full_bytes)
    return seconds


def _seconds(device: DeviceSpec, row: Measured, ranks: Numbers, full_bytes: Floats) -> Numbers:
    on = _channel(device, row, ranks)
    if row.op == "engine":
        return _engine_seconds(device, on, row, full_bytes)
    narrow = NARROW_REDUCTION if row.is_narrow and row.op in ("all_reduce", "reduce_scatter") else 1.0
    return SECONDS[str(row.op)](on, full_bytes) * narrow


def _engine_seconds(device: DeviceSpec, on: Channel, row: Measured, full_bytes: Floats) -> Numbers:
    """Without a graph the buffer is copied out, and the host takes as long as it takes."""
    seconds = small_all_reduce_seconds(on, full_bytes, engine=row.engine or "vllm")
    if not row.is_eager or not isinstance(on.fit, CollectiveFit):
        return seconds
    copied = COPY_LAUNCH_S + 2 * full_bytes / (COPY_SHARE * device.memory_bandwidth)
    return np.maximum(on.fit.host_launch, seconds + copied)


def _channel(device: DeviceSpec, row: Measured, ranks: Numbers) -> Channel:
    nodes = 1 if ONE_DOMAIN.match(row.system.casefold()) else row.nodes
    local = ranks if nodes == 1 else -(-row.ranks // nodes)
    ports = int(np.max(local))
    pool = NodePool(
        name="measured",
        nodes=nodes,
        devices_per_node=ports,
        device=device if row.has_switch else _without_switch(device),
        network=PORT.model_copy(update={"bandwidth": PORT.bandwidth * ports}),
        rails=ports,
    )
    return group_channel(pool, size=ranks, local=local, sharing=1)


def _without_switch(device: DeviceSpec) -> DeviceSpec:
    fit = device.kernels.collective
    if not isinstance(fit, CollectiveFit) or fit.switch is None:
        return device
    kernels = device.kernels.model_copy(update={"collective": fit.model_copy(update={"switch": None})})
    return device.model_copy(update={"kernels": kernels})
