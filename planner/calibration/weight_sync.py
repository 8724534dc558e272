"""Measured weight syncs from trainers to separate generators: how well the costs predict them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from planner.calibration.evaluation import Advance, Evaluation, Judged, Skipped
from planner.calibration.known import known_model
from planner.calibration.rows import Row, device_of, parse_all
from planner.costs.bands import band_of
from planner.costs.setting import Setting
from planner.costs.sync.broadcast import Mode, broadcast_transition
from planner.costs.uncertainty import kernel_uncertainty
from planner.domain.catalog import read_generation_stack, read_training_stack
from planner.domain.cluster import DeviceSpec, LinkSpec, NodePool
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.stack import Stack
from planner.domain.workload import Workload

COLUMNS = ("model", "placement", "mode", "sync_s_low", "sync_s_high", "gpu")

DEVICES_PER_NODE = 8
PORT = LinkSpec(bandwidth="100 Gbit/s", latency="10 us")
"""Network of each device; rows name none. What a full broadcast takes longer than a delta implies it."""
WEIGHT_SHARE = 0.4
"""Of a generator's memory that weights take at most, where a row does not name its layout."""
NO_MATTER = Workload.model_validate({"prompts": 1, "prompt_tokens": 1, "response_tokens": 1})

_NODES = re.compile(r"(\d+) ?\+ ?(\d+) nodes?")
_RANKS = re.compile(r"(\d+) train(?:er)? ?\+ ?(\d+) (?:rollout|generator) ranks?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Devices of both sides."""

    trainers: int
    generators: int
    in_nodes: bool
    """Whether each side has nodes of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row."""

    line: int
    source: str
    name: str
    device: DeviceSpec | None
    gpu: str
    placement: str
    mode: str
    is_asleep: bool
    seconds: float
    """The geometric middle of what was measured."""


def evaluate(rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
    """Predict every weight sync between separate pools of nodes of eight devices.

    Rows name no generation layout: engines get the fewest devices on which the weights fit, and generators
    that share a node with their trainers are one engine.
    """
    judged: list[Judged] = []
    skipped: list[Skipped] = []
    for row in parse_all(rows, lambda row: _measured(row, device)):
        found = _judge(row)
        if isinstance(found, Judged):
            judged.append(found)
        else:
            skipped.append(Skipped(line=row.line, reason=found))
        advance(1)
    return Evaluation(judged=judged, skipped=skipped)


def _measured(row: Row, device: DeviceSpec | None) -> Measured:
    low = row.number("sync_s_low")
    return Measured(
        line=row.line,
        source=row.optional_text("source") or "unknown",
        name=row.text("model"),
        device=device_of(row, "gpu", device),
        gpu=row.optional_text("gpu") or "",
        placement=row.text("placement"),
        mode=row.text("mode"),
        is_asleep="offload on" in (row.optional_text("note") or "").casefold(),
        seconds=math.sqrt(low * (row.optional_number("sync_s_high") or low)),
    )


def _judge(row: Measured) -> Judged | str:
    """The row with its prediction, or why there is none."""
    model, mode, placement = known_model(row.name), mode_of(row.mode), placement_of(row.placement)
    if row.device is None:
        return f"unknown device {row.gpu!r}"
    if model is None:
        return f"unknown model {row.name!r}"
    if mode is None:
        return f"unknown mode {row.mode!r}"
    if placement is None:
        return f"unknown placement {row.placement!r}"
    seconds = predicted_seconds(row.device, model, placement, mode=mode, is_asleep=row.is_asleep)
    residuals = kernel_uncertainty(row.device, None, kernel="weight syncs").residuals
    low, high = band_of(seconds, residuals)
    return Judged(
        line=row.line,
        source=row.source,
        group=f"{model.name} {row.placement} {mode}",
        measured=row.seconds,
        predicted=seconds,
        low=float(low),
        high=float(high),
    )


def mode_of(text: str) -> Mode | None:
    """How weights travel, in the words of weight-sync tables.

    >>> mode_of("nccl full broadcast"), mode_of("delta_sharded"), mode_of("checkpoint-engine")
    ('broadcast', 'delta', 'checkpoint-engine')
    """
    words = text.casefold().replace("_", "-")
    if "delta" in words:
        return "delta"
    if "checkpoint-engine" in words or "checkpoint engine" in words:
        return "checkpoint-engine"
    return "broadcast" if "nccl" in words or "broadcast" in words else None


def placement_of(text: str) -> Placement | None:
    """Devices of a placement such as ``1+1 nodes`` or ``4 train + 4 rollout ranks``."""
    if found := _NODES.search(text.casefold()):
        trainers, generators = (int(nodes) * DEVICES_PER_NODE for nodes in found.groups())
        return Placement(trainers=trainers, generators=generators, in_nodes=True)
    if found := _RANKS.search(text.casefold()):
        trainers, generators = map(int, found.groups())
        in_nodes = trainers + generators > DEVICES_PER_NODE
        return Placement(trainers=trainers, generators=generators, in_nodes=in_nodes)
    return None


def predicted_seconds(
    device: DeviceSpec, model: ModelSpec, placement: Placement, *, mode: Mode, is_asleep: bool
) -> float:
    """Seconds of one weight sync; training weights are cut over the devices of a node."""
    setting = _setting(device, model, placement)
    tensor = min(placement.trainers, DEVICES_PER_NODE)
    train = ParallelStrategy(tensor=tensor, data=math.ceil(placement.trainers / tensor))
    found = broadcast_transition(
        setting,
        train,
        _generators(setting, placement),
        to=setting.node_pool if placement.in_nodes else None,
        mode=mode,
        is_asleep=is_asleep,
    )
    return found.seconds


def _generators(setting: Setting, placement: Placement) -> GenerationStrategy:
    most = min(placement.generators, DEVICES_PER_NODE)
    weights = setting.model.parameters() * setting.element_bytes
    least = math.ceil(weights / (WEIGHT_SHARE * setting.device.memory))
    tensor = min(most, 2 ** math.ceil(math.log2(least))) if placement.in_nodes else most
    return GenerationStrategy(
        tensor=tensor, replicas=math.ceil(placement.generators / tensor), max_sequences=1
    )


def _setting(device: DeviceSpec, model: ModelSpec, placement: Placement) -> Setting:
    devices = placement.trainers + placement.generators
    pool = NodePool(
        name="measured",
        nodes=math.ceil(devices / DEVICES_PER_NODE),
        devices_per_node=DEVICES_PER_NODE,
        device=device,
        network=PORT.model_copy(update={"bandwidth": PORT.bandwidth * DEVICES_PER_NODE}),
        rails=DEVICES_PER_NODE,
    )
    stack = Stack(training=read_training_stack("megatron-core"), generation=read_generation_stack("vllm"))
    return Setting(
        model=model,
        head="vocabulary",
        precision="bf16",
        workload=NO_MATTER,
        node_pool=pool,
        stack=stack,
    )
