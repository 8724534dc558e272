"""Measured iterations of reinforcement learning: from a row of a file to models, layouts and lengths."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from planner.calibration.known import known_model, known_serving_stack
from planner.calibration.rows import Row, device_of
from planner.calibration.serving_rows import node_of
from planner.costs.setting import Setting
from planner.domain.catalog import read_training_stack
from planner.domain.cluster import DeviceSpec
from planner.domain.lengths import TokenLengths
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import Offload, Recompute, RoleStrategy
from planner.domain.stack import Stack
from planner.domain.workload import Workload

COLUMNS = (
    "algo",
    "model",
    "gpu",
    "n_gpus",
    "train_parallel",
    "gen_parallel",
    "max_prompt_len",
    "max_response_len",
    "mean_response_len",
    "prompts_per_step",
    "samples_per_prompt",
    "mini_bs",
    "max_tok_actor",
    "step_s",
    "rollout_s",
    "generation_s",
    "update_actor_s",
    "old_logp_s",
    "reshard_s",
    "ref_s",
)

MEASURES = {
    "generation": "generation_s",
    "update": "update_actor_s",
    "logprobs": "old_logp_s",
    "reshard": "reshard_s",
    "ref": "ref_s",
    "step": "step_s",
}
"""Phases that are judged, and the columns of their seconds."""

PROMPT_TOKENS = 160
"""Mean length of a prompt, which rows don't state: problems of mathematics in one to ten lines; assumed."""
RESPONSE_SHARE = 1 / 8
"""Mean over greatest length of responses where a row has nothing to tell it by. Assumed: rows with token
rates show 1/15 to 1/6."""
MICRO_BATCH_TOKENS = 16384
"""Of one pass where a row does not say; assumed."""
WITHOUT_REFERENCE = frozenset({"dapo", "reinforce"})
"""Algorithms whose usual loss has no KL term, so that an iteration asks no reference model."""

TRAINER = "verl-megatron"
"""The engine of all rows that train with Megatron-Core."""
ATTENTION_FLOPS = 1.13
"""FLOPs that a framework counts over 6 per parameter and token: it adds those of attention, which long
responses take most of. As the rows say that state both a token rate and a utilization."""

_SIZE = re.compile(r"(etp|vpp|tp|pp|cp|ep|sp|dp|vp)\s*=?\s*(\d+)")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*(k?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """One measured iteration."""

    line: int
    source: str
    name: str
    setting: Setting
    update: RoleStrategy
    inference: RoleStrategy
    """The same layout with the micro-batches of log-probabilities."""
    tensor: int
    pipeline: int
    replicas: int
    """Of the generation layout."""
    has_reference: bool
    lengths_from: str
    """How the mean length is known: ``stated``, ``rate``, ``utilization`` or ``assumed``."""
    measured: Mapping[str, float]
    """Seconds by phase, those that the row states."""

    def generate(self, max_sequences: int) -> GenerationStrategy:
        """The generation layout with a limit of running sequences."""
        return GenerationStrategy(
            pipeline=self.pipeline,
            tensor=self.tensor,
            replicas=self.replicas,
            max_sequences=max_sequences,
        )


def iteration_of(row: Row, given: DeviceSpec | None) -> Iteration | str:
    """The iteration of a row, or why it cannot be predicted.

    Raises
    ------
    RowError
        A field is not what its column needs.
    """
    device, devices = device_of(row, "gpu", given), row.count("n_gpus")
    model = known_model(row.text("model"))
    trainer, _, server = (row.optional_text("backend") or "megatron+vllm").casefold().partition("+")
    serving, is_sharded = known_serving_stack(server or "vllm"), trainer.startswith("fsdp")
    measured = {name: row.optional_number(column) for name, column in MEASURES.items()}
    train = sizes_of(row.optional_text("train_parallel") or "", alone=is_sharded)
    generate = sizes_of(row.optional_text("gen_parallel") or "")
    batch = batch_of(row)
    if "coloc" not in (row.optional_text("placement") or "colocated").casefold():
        return "roles on devices of their own"
    if device is None:
        return f"no device {row.text('gpu')!r} in the catalog"
    if model is None:
        return f"no model {row.text('model')!r} in the catalog"
    if serving is None:
        return f"no serving engine {server!r} in the catalog"
    if batch is None:
        return "neither prompts and samples per prompt nor samples per step are given"
    if train is None or generate is None:
        return "parallel sizes that cannot be read"
    training = read_training_stack("fsdp" if is_sharded else TRAINER)
    layout, copies = layout_of(train, devices), devices // (generate["tp"] * generate["pp"])
    if layout is None or not copies:
        return "parallel sizes that need more devices than the row has"
    prompts, samples, updates = batch
    lengths, known_by = lengths_of(row, model, device, samples=prompts * samples, devices=devices)
    workload = Workload(
        prompts=prompts,
        samples_per_prompt=samples,
        prompt_tokens=lengths[0],
        response_tokens=lengths[1],
        mini_batches=updates,
    )
    pool = node_of(device, nodes=max(1, -(-devices // 8)))
    return Iteration(
        line=row.line,
        source=row.optional_text("source") or "unknown",
        name=f"{model.name} {device.name} {row.optional_text('algo')}",
        setting=Setting(
            model=model,
            head="vocabulary",
            precision="bf16",
            workload=workload,
            node_pool=pool,
            stack=Stack(training=training, generation=serving),
        ),
        update=strategy_of(row, layout, "max_tok_actor"),
        inference=strategy_of(row, layout, "max_tok_logp"),
        tensor=generate["tp"],
        pipeline=generate["pp"],
        replicas=copies,
        has_reference=(row.optional_text("algo") or "").casefold() not in WITHOUT_REFERENCE,
        lengths_from=known_by,
        measured={name: value for name, value in measured.items() if value is not None},
    )


def batch_of(row: Row) -> tuple[int, int, int] | None:
    """(Prompts, samples per prompt, optimizer steps); mini-batches count prompts, or single samples."""
    prompts, samples = row.optional_count("prompts_per_step"), row.optional_count("samples_per_prompt")
    mini = row.optional_count("mini_bs")
    if prompts is None:
        prompts, samples = row.optional_count("samples_per_step"), 1
    if prompts is None or samples is None:
        return None
    return prompts, samples, 1 if mini is None else min(prompts, -(-prompts // mini))


def sizes_of(text: str, *, alone: bool = False) -> dict[str, int] | None:
    """Parallel sizes by name from ``tp4pp2`` or from a list such as ``[TP,CP,EP,PP,VPP]=[1,1,1,1,n/a]``.

    Of a list the first value is the tensor size, the last two the pipeline's and the virtual one's where
    the names end so, the third from the start the expert size.

    >>> sizes_of("tp4pp2")
    {'tp': 4, 'pp': 2, 'cp': 1, 'ep': 1, 'vpp': 1}
    >>> sizes_of("[TP,PP]=[2,1]")
    {'tp': 2, 'pp': 1, 'cp': 1, 'ep': 1, 'vpp': 1}

    Parameters
    ----------
    alone
        Whether a text without sizes says that there is data parallelism alone.
    """
    sizes = {"tp": 1, "pp": 1, "cp": 1, "ep": 1, "vpp": 1}
    names, bracket, values = text.casefold().partition("=[")
    if not bracket:
        found = {name: int(size) for name, size in _SIZE.findall(names)}
        if not found and not alone:
            return None
        return sizes | {name: max(1, size) for name, size in found.items() if name in sizes}
    keys = names.strip("[] ").split(",")
    listed = [int(value) if value.strip().isdigit() else 1 for value in values.strip("] ").split(",")]
    ends = 2 if keys[-1].strip() == "vpp" else 1
    if len(listed) < len(keys):
        return None
    for key, value in [
        *zip(keys[:-ends], listed[:-ends], strict=False),
        *zip(keys[-ends:], listed[-ends:], strict=True),
    ]:
        if key.strip() in sizes:
            sizes[key.strip()] = max(1, value)
    return sizes


def layout_of(sizes: Mapping[str, int], devices: int) -> ParallelStrategy | None:
    """The training layout; data parallelism takes the devices that the other sizes leave."""
    data = devices // (sizes["tp"] * sizes["pp"] * sizes["cp"])
    if not data:
        return None
    return ParallelStrategy(
        pipeline=sizes["pp"],
        tensor=sizes["tp"],
        data=data,
        context=sizes["cp"],
        expert=sizes["ep"],
        virtual=sizes["vpp"],
    )


def strategy_of(row: Row, layout: ParallelStrategy, column: str) -> RoleStrategy:
    """The layout with its micro-batches: sequences where the number is small, else a budget of tokens.

    Without dynamic batches the budget says nothing, and each sequence passes alone. Weights and optimizer
    leave the device for generation unless the row says otherwise, as the seconds of its weight syncs tell.
    """
    note = (row.optional_text("note") or "").casefold()
    recompute: Recompute = "full" if "recompute=true" in note else "none"
    offload: Offload = "none" if "offload=false" in note else "all"
    size = quantity(row, column)
    if "dynamic_batch=false" in note:
        return RoleStrategy(train=layout, micro_batch=1, recompute=recompute, offload=offload)
    if size is not None and size < 256:
        return RoleStrategy(train=layout, micro_batch=size, recompute=recompute, offload=offload)
    tokens = size or MICRO_BATCH_TOKENS
    return RoleStrategy(train=layout, micro_batch_tokens=tokens, recompute=recompute, offload=offload)


def quantity(row: Row, column: str) -> int | None:
    """A count such as ``4``, ``2048`` or ``20k`` (k is 1,024).

    Raises
    ------
    RowError
        It is none.
    """
    text = row.optional_text(column)
    if text is None:
        return None
    match = _QUANTITY.fullmatch(text.casefold())
    if match is None or float(match[1]) < 1:
        raise row.error(column, "a count such as 4, 2048 or 20k")
    return int(float(match[1]) * (1024 if match[2] else 1))


def lengths_of(
    row: Row, model: ModelSpec, device: DeviceSpec, *, samples: int, devices: int
) -> tuple[tuple[TokenLengths, TokenLengths], str]:
    """Lengths of prompts and responses, and how their mean is known.

    From the mean where the row states it; else from tokens per second and device over the step; else from
    the FLOPs that the update's utilization implies; else assumed.
    """
    longest_prompt = quantity(row, "max_prompt_len") or 1024
    longest = quantity(row, "max_response_len") or 4096
    prompt = min(PROMPT_TOKENS, longest_prompt)
    response, known_by = row.optional_number("mean_response_len"), "stated"
    total, rate = row.optional_number("mean_total_len"), row.optional_number("tokens_s_gpu")
    step, share = row.optional_number("step_s"), row.optional_number("actor_mfu")
    update = row.optional_number("update_actor_s")
    if response is None and total:
        response = total - prompt
    elif response is None and rate and step:
        response, known_by = rate * step * devices / samples - prompt, "rate"
    elif response is None and share and update:
        flops = share * device.peak["bf16"] * devices * update
        per_token = 6 * ATTENTION_FLOPS * model.active_parameters()
        response, known_by = flops / per_token / samples - prompt, "utilization"
    elif response is None:
        response, known_by = RESPONSE_SHARE * longest, "assumed"
    mean = min(max(response, 1.0), float(longest))
    return (
        TokenLengths(mean=prompt, maximum=longest_prompt),
        TokenLengths(mean=mean, maximum=longest),
    ), known_by
