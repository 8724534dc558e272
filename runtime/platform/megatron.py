"""Megatron-Core on CPU tensors and gloo, and without the kernels of TransformerEngine and Apex."""

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from queue import SimpleQueue
from types import CodeType, FunctionType
from typing import Any, Self

import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.optimizer import distrib_optimizer
from megatron.core.tensor_parallel import mappings, random
from megatron.core.transformer.moe import moe_utils, token_dispatcher

from runtime.platform.patches import Patch

VERSION = "megatron-core 0.16.1"

_ROOMS = (
    "megatron.core.dist_checkpointing",
    "megatron.core.distributed",
    "megatron.core.models.gpt.gpt_layer_specs",
    "megatron.core.models.gpt.gpt_model",
    "megatron.core.optimizer",
    "megatron.core.pipeline_parallel",
    "megatron.core.transformer.moe.moe_layer",
)
"""All that the engines use of Megatron, so that it is there to be patched."""


def _name_the_cpu() -> None:
    torch.cuda.current_device = lambda: torch.device("cpu")  # type: ignore[assignment, return-value]


def _skip_synchronize() -> None:
    torch.cuda.synchronize = lambda device=None: None  # type: ignore[assignment]


def _stay_on_cpu() -> None:
    torch.Tensor.cuda = lambda self, *args, **kwargs: self  # type: ignore[assignment]


def _seed_the_cpu() -> None:
    torch.cuda.manual_seed = torch.manual_seed  # type: ignore[assignment]
    torch.cuda.get_rng_state = lambda device="cpu": torch.get_rng_state()  # type: ignore[assignment]
    torch.cuda.set_rng_state = lambda state, device="cpu": torch.set_rng_state(state)  # type: ignore[assignment]
    random._get_cuda_rng_state = lambda device="cpu", clone=False, graph_safe=False: torch.get_rng_state()
    random._set_cuda_rng_state = lambda state, device=-1, graph_safe=False: torch.set_rng_state(state)


def _retarget_literals() -> None:
    """Replace the literals ``'cuda'`` and ``'torch.cuda.FloatTensor'`` in every loaded function."""
    for room in _ROOMS:
        import_module(room)
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if module is not None and name.startswith("megatron.core"):
            own = [value for value in vars(module).values() if getattr(value, "__module__", None) == name]
            for value in own:
                _retarget(vars(value).values() if isinstance(value, type) else (value,), seen)


def _retarget(values: Iterable[Any], seen: set[int]) -> None:
    for value in list(values):
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (staticmethod, classmethod)):
            _retarget((value.__func__,), seen)
        elif isinstance(value, property):
            _retarget((value.fget, value.fset), seen)
        elif isinstance(value, FunctionType):
            value.__code__ = _on_cpu(value.__code__)
        if hasattr(value, "__wrapped__"):
            _retarget((value.__wrapped__,), seen)


def _on_cpu(constant: Any) -> Any:
    """The constant with CUDA's names replaced; equal constants keep their identity."""
    if constant == "cuda":
        return "cpu"
    if isinstance(constant, str) and constant.startswith("torch.cuda.") and constant.endswith("Tensor"):
        return constant.replace("torch.cuda.", "torch.")
    if isinstance(constant, (tuple, frozenset)):
        return type(constant)(map(_on_cpu, constant))
    if isinstance(constant, CodeType):
        return constant.replace(co_consts=tuple(map(_on_cpu, constant.co_consts)))
    return constant


def _keep_adam_steps() -> None:
    if not distrib_optimizer.HAVE_APEX_OR_TE:
        distrib_optimizer.DistributedOptimizer._set_main_param_and_optimizer_states = _set_states


def _set_states(self: Any, model_param: torch.Tensor, tensors: dict[str, torch.Tensor]) -> None:
    group, order = self.model_param_group_index_map[model_param]
    main = self.optimizer.param_groups[group]["params"][order]
    state = self.optimizer.state[main]
    state["step"] = state["step"].clone()  # load_state_dict gave all parameters the same tensor
    for name, target in {"param": main, **state}.items():
        if name != "step":
            target.copy_(tensors[name])


def _name_the_missing_product() -> None:
    if not hasattr(moe_utils, "te_general_gemm"):
        moe_utils.te_general_gemm = None


def _count_tokens_as_numbers() -> None:
    token_dispatcher.maybe_move_tensor_to_cpu = _on_host


def _on_host(tensor: Any, as_numpy: bool = False, record_stream: bool = False) -> Any:
    return tensor.numpy() if torch.is_tensor(tensor) and as_numpy else tensor


def _stay_on_one_stream() -> None:
    torch.cuda.Stream = _Stream  # type: ignore[assignment, misc]
    torch.cuda.current_stream = lambda device=None: _Stream()  # type: ignore[assignment, return-value]
    torch.cuda.stream = lambda stream: nullcontext()  # type: ignore[assignment, return-value]


class _Stream:
    """The only stream: everything on it is done when it is asked for."""

    def wait_stream(self, stream: Any) -> None:
        pass

    def record_event(self) -> Self:
        return self

    def synchronize(self) -> None:
        pass


def _gather_unequal_parts() -> None:
    equal = mappings._gather_along_first_dim, mappings._reduce_scatter_along_first_dim
    mappings._gather_along_first_dim = partial(_gather, equal[0])
    mappings._reduce_scatter_along_first_dim = partial(_reduce_scatter, equal[1])


def _gather(equal: Any, part: torch.Tensor, group: Any, sizes: Any = None, use_buffer: bool = False) -> Any:
    if sizes is None or group.size() == 1:
        return equal(part, group, None, use_buffer)
    most = max(sizes)
    parts = [part.new_empty(most, *part.shape[1:]) for _ in sizes]
    filled = torch.cat([part, part.new_zeros(most - len(part), *part.shape[1:])])
    dist.all_gather(parts, filled, group=group)
    return torch.cat([each[:size] for each, size in zip(parts, sizes, strict=True)])


def _reduce_scatter(
    equal: Any, whole: torch.Tensor, group: Any, sizes: Any = None, use_buffer: bool = False
) -> Any:
    if sizes is None or group.size() == 1:
        return equal(whole, group, None, use_buffer)
    total = whole.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total.split(list(sizes))[group.rank()]


def _queue_in_process() -> None:
    results: SimpleQueue[Any] = SimpleQueue()
    filesystem_async._get_write_results_queue = lambda: results


PATCHES = (
    Patch(
        name="megatron-current-device",
        made_for=VERSION,
        reason="buffers are allocated on torch.cuda.current_device(), which raises without CUDA",
        apply=_name_the_cpu,
    ),
    Patch(
        name="megatron-synchronize",
        made_for=VERSION,
        reason="pipeline sends and receives end with torch.cuda.synchronize()",
        apply=_skip_synchronize,
    ),
    Patch(
        name="megatron-tensor-cuda",
        made_for=VERSION,
        reason="a tied embedding is moved with .cuda() before the pipeline stages compare their copies",
        apply=_stay_on_cpu,
    ),
    Patch(
        name="megatron-random-state",
        made_for=VERSION,
        reason="the tracker of random states, forked by every attention dropout, knows CUDA generators only",
        apply=_seed_the_cpu,
    ),
    Patch(
        name="megatron-literals",
        made_for=VERSION,
        reason="causal masks, token counts, norm clipping and the optimizer's checks spell out 'cuda' and "
        "'torch.cuda.FloatTensor'",
        apply=_retarget_literals,
    ),
    Patch(
        name="megatron-adam-step",
        made_for=VERSION,
        reason="torch's AdamW, used where neither Apex nor TransformerEngine is installed, keeps a step per "
        "parameter that loading a distributed checkpoint does not expect",
        apply=_keep_adam_steps,
        kinds=("cpu", "cuda"),
    ),
    Patch(
        name="megatron-router-product",
        made_for=VERSION,
        reason="the router looks up a product of TransformerEngine by a name that is unknown without it",
        apply=_name_the_missing_product,
        kinds=("cpu", "cuda"),
    ),
    Patch(
        name="megatron-token-counts",
        made_for=VERSION,
        reason="tokens are split by counts that only tensors on CUDA are turned into",
        apply=_count_tokens_as_numbers,
    ),
    Patch(
        name="megatron-unequal-parts",
        made_for=VERSION,
        reason="tensor ranks gather unequally many tokens of the experts that they share, which gloo can't",
        apply=_gather_unequal_parts,
    ),
    Patch(
        name="megatron-streams",
        made_for=VERSION,
        reason="counts of the experts' tokens are copied on a CUDA stream of their own",
        apply=_stay_on_one_stream,
    ),
    Patch(
        name="megatron-checkpoint-queue",
        made_for=VERSION,
        reason="saving keeps a server process of 270 MB per rank for a queue that only asynchronous saves "
        "share between processes; it outlives a killed rank",
        apply=_queue_in_process,
        kinds=("cpu", "cuda"),
    ),
)
