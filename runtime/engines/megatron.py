"""Training and inference of one model on Megatron-Core."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.distributed import finalize_model_grads
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.transformer.module import MegatronModule
from megatron.core.utils import unwrap_model

from planner.domain.model import Head, ModelSpec, Precision
from planner.domain.parallelism import GenerationStrategy
from planner.domain.plan import Recompute
from planner.domain.weights import WeightTensor, weight_tensors
from planner.errors import SpecError
from runtime.engines import optimizer as adam
from runtime.engines import states
from runtime.engines.checkpoint import ModelFolder, write_folder
from runtime.engines.gather import BUCKET_BYTES, WeightGather
from runtime.engines.groups import WeightGroups, weight_groups
from runtime.engines.layout import Layout
from runtime.engines.optimizer import OptimizerSettings
from runtime.engines.shards import Shard, shards
from runtime.engines.transformer import DTYPE, build_module
from runtime.platform import COLLECTIVE_TIMEOUT, current_device

Batch = Mapping[str, torch.Tensor]
Loss = Callable[[torch.Tensor, Batch], tuple[torch.Tensor, Mapping[str, torch.Tensor]]]
"""From a micro-batch's log-probabilities or values to its share of the loss and the metrics to be summed."""


class MegatronEngine:
    """One model in one layout; every method is called by all ranks of the layout.

    Parameters
    ----------
    head
        ``vocabulary``: outputs are log-probabilities of the next tokens. ``scalar``: values.
    seed
        Of a value head that the loaded folder does not have.
    optimizer
        None for a model that is never updated: it has neither gradients nor optimizer states.
    recompute
        ``full`` computes each layer's activations again in the backward pass.

    Raises
    ------
    PlanMismatchError
        If the layout does not divide the model.
    """

    def __init__(
        self,
        *,
        model: ModelSpec,
        head: Head,
        layout: Layout,
        precision: Precision,
        seed: int,
        optimizer: OptimizerSettings | None,
        recompute: Recompute = "none",
    ) -> None:
        self.model, self.head, self.layout, self.precision = model, head, layout, precision
        self._seed, self._settings = seed, optimizer
        self._export_groups: WeightGroups | None = None
        with layout:
            self._module = build_module(model, head, layout=layout, precision=precision, recompute=recompute)
            if optimizer is not None:
                self._module = adam.wrap(self._module, optimizer)
                self._optimizer = adam.build(self._module, optimizer)

    def load(self, folder: str | Path) -> None:
        """Read this rank's slices of a folder's weights.

        A value head that the folder lacks is drawn from N(0, 1 / (hidden + 1)) with the engine's seed
        (Stiennon et al. 2020, appendix B.1), if it is to be trained.

        Raises
        ------
        SpecError
            If a weight is missing or has another shape than the model's.
        """
        source = ModelFolder(folder)
        held = self._shards()
        for tensor in weight_tensors(self.model, self.head):
            if tensor.name in held:
                held[tensor.name].write(self._part(source, tensor))
        if self._settings is not None:
            self._optimizer.reload_model_params()

    def forward(self, tokens_bs: torch.Tensor, *, micro_batch: int) -> torch.Tensor | None:
        """Log-probabilities of ``tokens_bs[:, 1:]``, shape (b, s-1), or values, shape (b, s); fp32.

        Only the last pipeline stage has them; the others return None.

        Parameters
        ----------
        tokens_bs
            Right-padded token sequences.
        micro_batch
            Sequences of one forward pass.
        """
        rows, columns = tokens_bs.shape
        batches = [{"tokens_bs": part} for part in tokens_bs.split(micro_batch)] if rows else []
        with torch.no_grad():
            outputs = self._schedule(batches, lambda output, _: (output.sum(), output), forward_only=True)
        if not self.layout.is_last_stage:
            return None
        width = columns - 1 if self.head == "vocabulary" else columns
        return torch.cat([torch.empty(0, width, device=current_device()), *outputs])

    def update(self, batches: Sequence[Batch], loss: Loss) -> dict[str, float]:
        """One optimizer step along the gradient of the sum of all micro-batches' losses.

        Parameters
        ----------
        batches
            This replica's micro-batches, each with at least ``tokens_bs``; may be none.
        loss
            Share of one micro-batch in the mini-batch's loss: the sum over micro-batches and replicas is
            what is minimised.

        Returns
        -------
        The summed metrics, ``grad_norm`` (before clipping) and ``learning_rate``, equal on all ranks.

        Raises
        ------
        FloatingPointError
            If the gradient is not finite; the weights are lost.
        """
        assert self._settings is not None, "an engine without an optimizer is not updated"
        self._module.zero_grad_buffer()
        self._optimizer.zero_grad()
        metrics = self._schedule(batches, loss, forward_only=False)
        with self.layout:
            if not batches:
                finalize_model_grads([self._module])
            _, norm, _ = self._optimizer.step()
            summed = _sum_over_replicas(metrics)
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"{self.model.name}: the gradient norm is {float(norm)}, so the weights are lost; "
                "go on from the last checkpoint with a lower learning rate"
            )
        return {**summed, "grad_norm": float(norm), "learning_rate": self._settings.learning_rate}

    def export(self) -> Iterator[tuple[str, torch.Tensor]]:
        """All weights under their Hugging Face names, whole, one after the other, on every rank.

        Their order is that of the buckets that they arrive in.
        """
        if self._export_groups is None:
            whole = GenerationStrategy(replicas=self.layout.strategy.devices, max_sequences=1)
            self._export_groups = weight_groups(
                self.layout.strategy, whole, grouping="vanilla", timeout=COLLECTIVE_TIMEOUT
            )
        for tensor, weight in self.gather(self._export_groups):
            yield tensor.name, weight

    def gather(self, groups: WeightGroups, *, bucket_bytes: int = BUCKET_BYTES) -> WeightGather:
        """The weights gathered among some of the ranks; iterate over it on all of them."""
        held = self._shards()
        return WeightGather(
            model=self.model,
            head=self.head,
            strategy=self.layout.strategy,
            read=lambda name: held[name].read(),
            dtype=DTYPE[self.precision],
            device=current_device(),
            groups=groups,
            bucket_bytes=bucket_bytes,
        )

    def save(self, folder: str | Path, template_folder: str | Path) -> None:
        """Write a Hugging Face folder: these weights, the template's config and tokenizer files."""
        if self.layout.rank == 0:
            write_folder(
                Path(folder),
                Path(template_folder),
                self.export(),
                model=self.model,
                head=self.head,
                precision=self.precision,
            )
        else:
            for _ in self.export():
                pass
        dist.barrier()

    def save_state(self, folder: str | Path) -> None:
        """Write weights and optimizer states for `load_state`, in any layout; whole or not at all."""
        with self.layout:
            states.save(Path(folder), self._bare_module(), self._optimizer_or_none())

    def load_state(self, folder: str | Path) -> None:
        """Go on from what `save_state` wrote, also where that was another layout."""
        with self.layout:
            states.load(Path(folder), self._bare_module(), self._optimizer_or_none())

    def static_bytes(self) -> dict[str, int]:
        """Bytes of this rank's parameters, gradients and optimizer states, padding of buffers included."""
        stores = [parameter.untyped_storage() for parameter in self._module.parameters()]
        parameters = sum({store.data_ptr(): store.nbytes() for store in stores}.values())
        if self._settings is None:
            return {"parameters": parameters, "gradients": 0, "optimizer": 0}
        gradients = sum(buffer.grad_data.nbytes for buffer in self._module.buffers)
        return {"parameters": parameters, "gradients": gradients, "optimizer": self._optimizer_bytes()}

    def _optimizer_bytes(self) -> int:
        """Of main parameters and moments; counters of steps are no state of a parameter."""
        own = {parameter.untyped_storage().data_ptr() for parameter in self._module.parameters()}
        held: dict[int, int] = {}
        for torch_adam in adam.adams(self._optimizer):
            for main, moments in torch_adam.state.items():
                for tensor in (main, *moments.values()):
                    if tensor.dim() and tensor.untyped_storage().data_ptr() not in own:
                        held[tensor.data_ptr()] = tensor.nbytes
        return sum(held.values())

    def _bare_module(self) -> MegatronModule:
        """The module without the wrappers of data parallelism and bf16."""
        return unwrap_model(self._module)

    def _optimizer_or_none(self) -> MegatronOptimizer | None:
        return None if self._settings is None else self._optimizer

    def _shards(self) -> dict[str, Shard]:
        return shards(self._bare_module(), self.model)

    def _part(self, source: ModelFolder, tensor: WeightTensor) -> torch.Tensor:
        if tensor.name == "score.weight" and tensor.name not in source:
            if self._settings is None:
                raise SpecError(f"{source.path}: has no score.weight, the head of a reward model")
            generator = torch.Generator().manual_seed(self._seed)
            return torch.randn(tensor.shape, generator=generator) / (self.model.hidden + 1) ** 0.5
        at = self.layout.at
        return source.part(tensor, index=at.tensor, count=self.layout.strategy.tensor)

    def _schedule(
        self,
        batches: Sequence[Batch],
        evaluate: Callable[[torch.Tensor, Batch], tuple[torch.Tensor, Any]],
        *,
        forward_only: bool,
    ) -> list[Any]:
        """Run the pipeline schedule; what ``evaluate`` gave second, per micro-batch, on the last stage."""
        if not batches:
            return []
        with self.layout:
            return get_forward_backward_func()(
                forward_step_func=partial(self._step, evaluate),
                data_iterator=iter(batches),
                model=[self._module],
                num_microbatches=len(batches),
                seq_length=batches[0]["tokens_bs"].shape[1],
                micro_batch_size=batches[0]["tokens_bs"].shape[0],
                forward_only=forward_only,
            )

    def _step(self, evaluate: Callable[..., Any], batches: Iterator[Batch], module: torch.nn.Module) -> Any:
        """One micro-batch's forward pass, and what to make of its output on the last stage."""
        batch = next(batches)
        tokens_bs = batch["tokens_bs"].to(current_device())
        labels_bs = None
        if self.head == "vocabulary":
            tokens_bs, labels_bs = tokens_bs[:, :-1].contiguous(), tokens_bs[:, 1:].contiguous()
        positions_bs = torch.arange(tokens_bs.shape[1], device=tokens_bs.device).expand_as(tokens_bs)
        output = module(tokens_bs, positions_bs, None, labels=labels_bs)

        def finish(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Any]:
            result = -output if self.head == "vocabulary" else output.squeeze(-1)
            share, kept = evaluate(result.float(), batch)
            return share, torch.zeros((), dtype=torch.int, device=output.device), kept

        return output, finish


def _sum_over_replicas(metrics: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, float]:
    """Sums over micro-batches and data-parallel ranks, known to every rank."""
    own: dict[str, float] = {}
    for batch in metrics:
        for name, value in batch.items():
            own[name] = own.get(name, 0.0) + float(value)
    group = parallel_state.get_data_parallel_group()
    of_ranks: list[Any] = [None] * group.size()
    dist.all_gather_object(of_ranks, own, group=group)
    total: dict[str, float] = {}
    for rank_metrics in of_ranks:
        for name, value in rank_metrics.items():
            total[name] = total.get(name, 0.0) + value
    box = [total]
    stages = parallel_state.get_pipeline_model_parallel_group()
    dist.broadcast_object_list(box, parallel_state.get_pipeline_model_parallel_last_rank(), group=stages)
    return box[0]
