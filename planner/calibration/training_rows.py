"""Measured training steps: from a row of a file to the job, the layout and the seconds that it states."""

from dataclasses import dataclass

from planner.calibration.known import known_model, known_training_stack
from planner.calibration.rows import Row, device_of
from planner.calibration.training_words import precision_of, recompute_of, servers_of, sharding_of
from planner.costs.passes.data_parallel import Sizes
from planner.costs.setting import Job
from planner.domain.catalog import read_training_stack
from planner.domain.cluster import DeviceSpec
from planner.domain.model import ModelSpec
from planner.domain.plan import Recompute
from planner.domain.stack import TrainingStack

COLUMNS = (
    "source",
    "n_gpus",
    "framework",
    "model",
    "layers",
    "hidden",
    "heads",
    "kv_heads",
    "ffn",
    "vocab",
    "gated",
    "seq",
    "gbs",
    "mbs",
    "tp",
    "pp",
    "precision",
    "recompute",
    "sharding",
    "step_time_s",
)

ADAPTERS = ("lora", "peft")
TUNING = ("sft", *ADAPTERS)
"""Tasks as rows name them."""
PACKED_SOURCES = {"nemo-docs": 256}
"""Sources whose fine-tuning rows pack short samples into each sequence, with their mean length (SQuAD's), and
leave out the model chunks of a stage, of one layer each by their recipes (NeMo's ``perf_recipes``)."""
UNKNOWN_SHARDED, UNKNOWN_ELSE = "composer-fsdp", "nemo"
"""Stacks that stand for a framework that nothing was measured of: where parameters are sharded, and else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measured optimizer step."""

    line: int
    source: str
    framework: str
    job: Job
    sizes: Sizes
    sequences: int
    """Of one micro-batch."""
    micro_batches: int
    recompute: Recompute
    batch: int
    task: str
    seconds: float
    peak_bytes: float | None

    @property
    def devices(self) -> int:
        return int(self.sizes.devices)

    @property
    def choice(self) -> str:
        """What rows share that differ in parallel sizes only."""
        job = self.job
        what = (self.source, job.model.name, job.device.name, job.precision, self.framework, self.task)
        return "/".join(map(str, (*what, self.recompute, self.devices, self.batch, job.tokens)))

    @property
    def group(self) -> str:
        """What rows share that one model and stack explain."""
        return f"{self.job.stack.name}/{self.job.device.name}/{self.job.model.name}"


def measured_of(row: Row, device: DeviceSpec | None) -> Measured | str:
    """The step that a row measures, or why it cannot be evaluated.

    Raises
    ------
    RowError
        A field is not what its column needs.
    """
    spec, precision = device_of(row, "gpu", device), precision_of(row.text("precision"))
    model, sizes, work, seconds = _model(row), _sizes(row), _work(row), _seconds(row)
    peak = row.optional_number("peak_mem_gib")
    if isinstance(model, str):
        return model
    if isinstance(sizes, str):
        return sizes
    if isinstance(work, str):
        return work
    if spec is None:
        return "the device is not in the catalog"
    if precision is None or precision not in spec.peak:
        return "the device's file states no peak for the precision"
    if seconds is None:
        return "neither the step's seconds nor tokens per second are stated"
    sequences, micro_batches = _micro_batches(row, work, sizes)
    samples = max(1, work.tokens // PACKED_SOURCES[row.text("source")]) if _is_packed(row) else 1
    job = Job(
        model=model,
        head="vocabulary",
        precision=precision,
        node_pool=servers_of(spec, int(sizes.devices), note=row.optional_text("note") or ""),
        stack=_stack(row),
        tokens=work.tokens / samples,
        is_frozen=work.task in ADAPTERS,
    )
    return Measured(
        line=row.line,
        source=row.text("source"),
        framework=row.text("framework"),
        job=job,
        sizes=sizes,
        sequences=sequences * samples,
        micro_batches=micro_batches,
        recompute=recompute_of(row.optional_text("recompute") or ""),
        batch=work.batch,
        task=work.task,
        seconds=seconds,
        peak_bytes=peak * 2**30 if peak else None,
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """Sequences of a step, tokens of a sequence."""

    batch: int
    tokens: int
    task: str


def _work(row: Row) -> _Work | str:
    batch, tokens = row.optional_count("gbs"), row.optional_count("seq")
    if batch is None or tokens is None:
        return "the batch or the length of its sequences is not stated"
    return _Work(batch, tokens, (row.optional_text("task") or "pretrain").casefold())


def _sizes(row: Row) -> Sizes | str:
    """Parallel sizes; data-parallel ranks are what the others leave."""
    devices = row.count("n_gpus")
    names = ("tp", "pp", "cp", "vp", "ep")
    tensor, pipeline, context, virtual, expert = (row.optional_count(name) or 1 for name in names)
    replica = tensor * pipeline * context
    if devices % replica:
        return "the parallel sizes do not divide the devices"
    return Sizes(
        pipeline=pipeline,
        tensor=tensor,
        data=devices // replica,
        virtual=_chunks(row, virtual, pipeline),
        context=context,
        expert=expert,
    )


def _chunks(row: Row, stated: int, pipeline: int) -> int:
    """Model chunks of a stage: one layer each where `PACKED_SOURCES` leave them out."""
    if pipeline == 1:
        return 1
    layers = row.optional_count("layers") or pipeline
    return max(1, layers // pipeline) if stated == 1 and _is_packed(row) else stated


def _is_packed(row: Row) -> bool:
    task = (row.optional_text("task") or "").casefold()
    return task in TUNING and row.text("source") in PACKED_SOURCES


def _micro_batches(row: Row, work: _Work, sizes: Sizes) -> tuple[int, int]:
    """(Sequences of a micro-batch, micro-batches) of the fullest replica; one sequence if not stated."""
    replica = -(-work.batch // int(sizes.data))
    stated = row.optional_count("mbs")
    steps = row.optional_count("grad_accum")
    sequences = min(stated or (-(-replica // steps) if steps else 1), replica)
    return sequences, -(-replica // sequences)


def _model(row: Row) -> ModelSpec | str:
    """The model that the columns describe; the catalog's where they cannot describe it."""
    name = row.text("model")
    columns = ("layers", "hidden", "heads", "ffn", "vocab")
    layers, hidden, heads, ffn, vocab = (row.optional_count(column) for column in columns)
    kv_heads, is_gated = row.optional_count("kv_heads") or heads, _flag(row, "gated")
    known = known_model(name)
    if known and (known.moe or known.mla or None in (layers, hidden, heads, ffn, vocab)):
        return known
    if layers is None or hidden is None or heads is None or ffn is None or vocab is None:
        return "the model's dimensions are not stated, nor is it in the catalog"
    if kv_heads and heads % kv_heads:
        raise row.error("kv_heads", f"a divisor of heads ({heads})")
    spec = ModelSpec(
        name=name,
        family="llama" if is_gated else "gpt",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=max(1, hidden // heads),
        ffn=ffn,
        vocab=vocab,
        gated=is_gated,
        tied_embeddings=not is_gated,
        learned_positions=0 if is_gated else row.optional_count("seq") or 0,
    )
    has_experts = (row.optional_count("ep") or 1) > 1
    has_experts |= (row.optional_number("params") or 0) > 1.5 * spec.parameters()
    return "the model's experts are not stated, nor is it in the catalog" if has_experts else spec


def _flag(row: Row, column: str) -> bool:
    text = (row.optional_text(column) or "1").casefold()
    if text in ("1", "1.0", "true", "yes"):
        return True
    if text in ("0", "0.0", "false", "no"):
        return False
    raise row.error(column, "0 or 1")


def _stack(row: Row) -> TrainingStack:
    """The framework's stack with the row's sharding; an unknown framework's by its sharding alone."""
    sharding = sharding_of(row.optional_text("sharding") or "")
    stack = known_training_stack(row.text("framework"))
    if stack is None:
        is_sharded = sharding in ("full", "gradients")
        stack = read_training_stack(UNKNOWN_SHARDED if is_sharded else UNKNOWN_ELSE)
    return stack.model_copy(update={"sharding": sharding}) if sharding else stack


def _seconds(row: Row) -> float | None:
    """Seconds of one step, as stated, or from the tokens per second of a device."""
    stated, rate = row.optional_number("step_time_s"), row.optional_number("tokens_s_gpu")
    batch, tokens = row.optional_count("gbs"), row.optional_count("seq")
    if stated or rate is None or batch is None or tokens is None:
        return stated
    return batch * tokens / (rate * row.count("n_gpus"))
