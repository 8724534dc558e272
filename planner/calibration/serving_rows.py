"""Measured points of serving engines: from a row of a file to the engine, its layout and its load."""

from dataclasses import dataclass

from planner.calibration.known import known_model, known_serving_stack
from planner.calibration.rows import Row, device_of
from planner.costs.serving.engine_step import Engine
from planner.domain.cluster import DeviceSpec, NodePool
from planner.domain.model import ModelSpec, Precision
from planner.domain.stack import GenerationStack

COLUMNS = (
    "backend",
    "model_path",
    "system",
    "isl",
    "osl",
    "concurrency",
    "tp_size",
    "silicon_ttft_ms",
    "silicon_tpot_ms",
)

PRECISIONS: dict[str, Precision] = {
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp16": "fp16",
    "float16": "fp16",
    "fp8": "fp8",
    "fp8_static": "fp8",
    "fp8_block": "fp8",
}
"""Of matrices, by the words of the column; where it is empty, the 16 bits of the checkpoint."""

NODE_DEVICES = {"gb200-sxm-186gb": 72, "gb300-sxm-288gb": 72}
"""Devices that share NVLink, eight unless listed (NVIDIA GB200 NVL72 data sheet)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured point of a serving engine."""

    line: int
    source: str
    model: ModelSpec
    precision: Precision
    device: DeviceSpec
    stack: GenerationStack
    tensor: int
    pipeline: int
    concurrency: int
    prompt_tokens: int
    response_tokens: int
    first_token: float | None
    """Mean seconds to the first token, where measured."""
    output_token: float | None
    """Mean seconds per further token, where measured."""

    @property
    def group(self) -> str:
        """Points that share their model, layout and stack."""
        return f"{' '.join(self.engine_key)} p{self.pipeline}t{self.tensor}"

    @property
    def engine_key(self) -> tuple[str, str, str, str]:
        """Points of one key run on one engine."""
        return self.stack.name, self.model.name, self.precision, self.device.name


def point_of(row: Row, given: DeviceSpec | None) -> Point | str:
    """The point of a row, or why it cannot be predicted.

    Raises
    ------
    RowError
        A field is not what its column needs.
    """
    device = device_of(row, "system", given)
    backend, path = row.text("backend"), row.text("model_path")
    named = "fp8" if "fp8" in path.casefold() else "bf16"
    quantization = row.optional_text("gemm_quant_mode") or named
    sizes = {name: row.count(column) for name, column in (("prompt", "isl"), ("response", "osl"))}
    concurrency = row.optional_count("concurrency")
    tensor, pipeline = row.optional_count("tp_size"), row.optional_count("pp_size") or 1
    first, output = row.optional_number("silicon_ttft_ms"), row.optional_number("silicon_tpot_ms")
    model, stack = known_model(path), known_serving_stack(backend)
    if (row.optional_text("mode") or "agg") != "agg":
        return "prefill and decode on different devices"
    if device is None:
        return f"no device {row.text('system')!r} in the catalog"
    if model is None:
        return f"no model {path!r} in the catalog"
    if stack is None:
        return f"no serving engine {backend!r} in the catalog"
    if quantization not in PRECISIONS:
        return f"quantization {quantization!r}"
    if PRECISIONS[quantization] not in device.peak:
        return f"{device.name} has no {PRECISIONS[quantization]}"
    if concurrency is None or tensor is None:
        return "no concurrency or no tensor parallel size"
    if first is None and output is None:
        return "neither latency is given"
    return Point(
        line=row.line,
        source=f"{backend} {path}",
        model=model,
        precision=PRECISIONS[quantization],
        device=device,
        stack=stack,
        tensor=tensor,
        pipeline=pipeline,
        concurrency=concurrency,
        prompt_tokens=sizes["prompt"],
        response_tokens=sizes["response"],
        first_token=None if first is None else first / 1e3,
        output_token=None if output is None else output / 1e3,
    )


def engine_of(point: Point) -> Engine:
    """The engine of a point."""
    return Engine(
        model=point.model, precision=point.precision, node_pool=node_of(point.device), stack=point.stack
    )


def node_of(device: DeviceSpec, *, nodes: int = 8) -> NodePool:
    """Nodes of the device on the fabric of a DGX H100: eight ports of 400 Gbit/s each."""
    return NodePool.model_validate(
        {
            "name": "measured",
            "nodes": nodes,
            "devices_per_node": NODE_DEVICES.get(device.name, 8),
            "device": device,
            "network": {"bandwidth": "3200 Gbit/s", "latency": "5 us"},
            "rails": 8,
        }
    )
