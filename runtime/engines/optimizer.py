"""Adam over the gradients of one engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.optimizer import MegatronOptimizer, OptimizerConfig, get_megatron_optimizer
from megatron.core.transformer.module import MegatronModule


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """AdamW (Loshchilov and Hutter 2019) with a constant learning rate and clipping by the global norm."""

    learning_rate: float
    gradient_clip: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    distributed: bool = True
    """Whether each data-parallel rank keeps a slice of the states only (ZeRO, stage 1)."""


def wrap(module: MegatronModule, settings: OptimizerSettings) -> DistributedDataParallel:
    """The module with fp32 gradient buffers that are summed over the data-parallel ranks."""
    ddp = DistributedDataParallelConfig(
        grad_reduce_in_fp32=True, use_distributed_optimizer=settings.distributed
    )
    return DistributedDataParallel(module.config, ddp, module)


def build(wrapped: Sequence[DistributedDataParallel], settings: OptimizerSettings) -> MegatronOptimizer:
    """The optimizer of a rank's wrapped modules, in the current layout."""
    dtype: torch.dtype = wrapped[0].config.params_dtype
    config = OptimizerConfig(
        optimizer="adam",
        lr=settings.learning_rate,
        min_lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        adam_eps=settings.epsilon,
        clip_grad=settings.gradient_clip,
        bf16=dtype is torch.bfloat16,
        params_dtype=dtype,
        use_distributed_optimizer=settings.distributed,
    )
    optimizer = get_megatron_optimizer(config, list(wrapped), use_gloo_process_groups=False)
    for adam in adams(optimizer):
        _allocate(adam)
    return optimizer


def adams(optimizer: MegatronOptimizer) -> list[torch.optim.Optimizer]:
    """The torch optimizers inside; none on a rank without a trained parameter."""
    return [chained.optimizer for chained in optimizer.chained_optimizers if chained.optimizer is not None]


def state_tensors(optimizer: MegatronOptimizer) -> Iterator[torch.Tensor]:
    """Main parameters, which in fp32 are the parameters themselves, and moments.

    Counters of steps are no state of a parameter. Fused kernels have no moments before the first step.
    """
    for adam in adams(optimizer):
        for main in (parameter for group in adam.param_groups for parameter in group["params"]):
            for tensor in (main, *adam.state.get(main, {}).values()):
                if tensor.dim():
                    yield tensor


def _allocate(adam: torch.optim.Optimizer) -> None:
    """Take the moments' memory now instead of in the first step; a saved state needs where to go, too."""
    if not isinstance(adam, torch.optim.AdamW):
        return  # fused kernels have states of another form, and allocate by themselves
    for group in adam.param_groups:
        for parameter in group["params"]:
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            adam.state[parameter] = {"step": torch.zeros(()), **moments}
