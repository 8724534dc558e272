"""vLLM inside processes that are ours: their groups, their names in shared memory, and its CPU build."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from vllm.distributed import parallel_state
from vllm.model_executor.layers.fused_moe.unquantized_fused_moe_method import UnquantizedFusedMoEMethod
from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm
from vllm.model_executor.models import registry
from vllm.v1.executor.uniproc_executor import ExecutorWithExternalLauncher

from runtime.platform.device import device_kind
from runtime.platform.patches import Patch

VERSION = "vllm 0.32.0"
_SHARED_MEMORY = Path("/dev/shm")
_T = TypeVar("_T")


def _call(function: Callable[[], _T]) -> _T:
    return function()


def _inspect_in_process() -> None:
    registry._run_in_subprocess = _call


def _pack_experts_again() -> None:
    set_up = UnquantizedFusedMoEMethod._setup_kernel

    def packed(method: Any, layer: torch.nn.Module, w13: torch.Tensor, w2: torch.Tensor) -> None:
        is_reload = method.moe_kernel is not None
        set_up(method, layer=layer, w13=w13, w2=w2)
        if is_reload:
            method.moe_kernel.fused_experts.process_weights_after_loading(layer)

    UnquantizedFusedMoEMethod._setup_kernel = packed


PATCHES = (
    Patch(
        name="vllm-experts-packed",
        made_for=VERSION,
        reason="experts compute with weights that are padded and packed when they are loaded first, and a "
        "reload puts plain ones in their place",
        apply=_pack_experts_again,
    ),
    Patch(
        name="vllm-model-inspection",
        made_for=VERSION,
        reason="model classes are inspected in a fresh subprocess, in which torchvision is not hidden; "
        "and that costs six seconds",
        apply=_inspect_in_process,
    ),
)


@contextmanager
def launched(*, rank: int, local_rank: int, ranks: Sequence[int], tag: str) -> Iterator[None]:
    """Start an engine as one rank of a world that exists already.

    Made for vllm 0.32.0. Its external launcher reads rank and address from the environment, names its shared
    memory after the address (``//`` for every engine on the host, so a second one fails with errno 17), and
    puts consecutive ranks into one tensor-parallel group, where the 3D-HybridEngine needs strided ones. Each
    group would also get a queue for broadcasts that are never sent, whose 24 MiB outlive a killed rank.

    Parameters
    ----------
    ranks
        The ranks in vLLM's order: tensor groups one after the other, each by shard.
    tag
        Unique name of this world on the host; the same on all its ranks.
    """
    build = parallel_state.init_model_parallel_group

    def permuted(group_ranks: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        kwargs["use_message_queue_broadcaster"] = False
        return build([[ranks[slot] for slot in group] for group in group_ranks], *args, **kwargs)

    def arguments(_: Any) -> tuple[str, int, int]:
        return f"tcp://127.0.0.1:{tag}", rank, local_rank  # never dialled: the world is there already

    with (
        patch.object(parallel_state, "init_model_parallel_group", permuted),
        patch.object(ExecutorWithExternalLauncher, "_distributed_args", arguments),
    ):
        yield


def repack_tied_head(model: torch.nn.Module) -> None:
    """Make an output layer that shares the embedding see its new weights.

    Made for vllm 0.32.0, CPU only: linear layers compute with a packed copy of their weights, and a reload
    packs again what it has loaded, which a tied head is not.
    """
    if device_kind() == "cpu" and model.config.tie_word_embeddings:
        dispatch_cpu_unquantized_gemm(model.lm_head, remove_weight=False)


def remove_shared_memory(tag: str) -> None:
    """Unlink the files of a world; those who have them open keep them."""
    for file in _SHARED_MEMORY.glob(f"{tag}*"):
        file.unlink(missing_ok=True)  # another rank may be faster
