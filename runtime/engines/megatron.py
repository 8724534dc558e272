"""Training and inference of one model on Megatron-Core."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.transformer.module import MegatronModule
from megatron.core.utils import unwrap_model

from planner.domain.model import Head, ModelSpec, Precision
from planner.domain.parallelism import GenerationStrategy, expert_coordinate
from planner.domain.plan import Offload, Recompute
from planner.domain.weights import WeightTensor, weight_tensors
from planner.errors import SpecError
from runtime.engines import optimizer as adam
from runtime.engines import states
from runtime.engines.checkpoint import ModelFolder, write_folder
from runtime.engines.gather import BUCKET_BYTES, WeightGather
from runtime.engines.groups import WeightGroups, weight_groups
from runtime.engines.layout import Layout
from runtime.engines.micro_batches import micro_batches
from runtime.engines.offload import Part, Residence, Store, storages
from runtime.engines.optimizer import OptimizerSettings
from runtime.engines.passes import Batch, Evaluate, run, sums_over_replicas
from runtime.engines.shards import Shard, shards
from runtime.engines.transformer import DTYPE, build_chunks
from runtime.platform import COLLECTIVE_TIMEOUT, current_device

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
        ``full`` computes each layer's activations again in the backward pass, ``selective`` those of the core
        of attention only.
    offload
        What lies in host memory while no method runs that needs it: the optimizer's states, or those,
        gradients and weights.
    sequence_parallel
        Whether tensor-parallel ranks cut what lies between the matrices along the sequence; a model with
        experts always does (Megatron-Core asserts it).
    temperature
        What logits are divided by: log-probabilities are those of the policy that is sampled at it.

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
        offload: Offload = "none",
        sequence_parallel: bool = True,
        temperature: float = 1.0,
    ) -> None:
        self.model, self.head, self.layout, self.precision = model, head, layout, precision
        self._seed, self._settings, self._temperature = seed, optimizer, temperature
        self._replica_groups: WeightGroups | None = None
        with layout:
            self._chunks = build_chunks(
                model,
                head,
                layout=layout,
                precision=precision,
                recompute=recompute,
                sequence_parallel=sequence_parallel,
            )
            if optimizer is not None:
                self._chunks = [adam.wrap(chunk, optimizer) for chunk in self._chunks]
                self._optimizer = adam.build(self._chunks, optimizer)
        self._residence = Residence(offload, self._stores())

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
        self._residence.bring("weights", "states")
        held = self.shards()
        for tensor in weight_tensors(self.model, self.head):
            if tensor.name in held:
                held[tensor.name].write(self._part(source, tensor))
        if self._settings is not None:
            self._optimizer.reload_model_params()
        self.offload()

    def onload(self) -> None:
        """Bring what is offloaded to the device, where it stays until `offload`."""
        self._residence.bring("weights", "gradients", "states")

    def offload(self) -> None:
        """Send what is offloaded to host memory."""
        self._residence.send()

    def forward(
        self,
        tokens_bs: torch.Tensor,
        *,
        micro_batch: int,
        lengths: Sequence[int] | None = None,
        token_budget: int | None = None,
    ) -> torch.Tensor | None:
        """Log-probabilities of ``tokens_bs[:, 1:]``, shape (b, s-1), or values, shape (b, s); fp32.

        Only the last pipeline stage has them, on each of its ranks; the others return None.

        Parameters
        ----------
        tokens_bs
            Right-padded token sequences.
        micro_batch
            Sequences of one forward pass.
        lengths
            Of the rows without their padding; what stands beyond is not computed, but 0.
        token_budget
            Tokens of one forward pass, in the place of ``micro_batch``.
        """
        rows, columns = tokens_bs.shape
        parts = list(micro_batches(lengths or [columns] * rows, rows=micro_batch, token_budget=token_budget))
        batches = [{"tokens_bs": tokens_bs[part.rows, : part.length]} for part in parts]
        with torch.no_grad(), self._residence.at_hand("weights"):
            outputs = self._run(batches, lambda output, _: (output.sum(), output), forward_only=True)
        if not self.layout.is_last_stage:
            return None
        width = columns - 1 if self.head == "vocabulary" else columns
        result_bs = torch.zeros(rows, width, device=current_device())
        for part, output in zip(parts, outputs, strict=True):
            result_bs[part.rows, : output.shape[1]] = output
        return result_bs

    def update(self, batches: Sequence[Batch], loss: Loss) -> dict[str, float]:
        """One optimizer step along the gradient of the sum of all micro-batches' losses.

        Parameters
        ----------
        batches
            This replica's micro-batches, each with at least ``tokens_bs``; may be none. One with a number
            ``temperature`` has that in the place of the engine's.
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
        with self._residence.at_hand("weights", "gradients", "states"):
            for chunk in self._chunks:
                chunk.zero_grad_buffer()
            self._optimizer.zero_grad()
            metrics = self._run(batches, loss, forward_only=False)
            with self.layout:
                _, norm, _ = self._optimizer.step()
                summed = sums_over_replicas(metrics)
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"{self.model.name}: the gradient norm is {float(norm)}, so the weights are lost; "
                "go on from the last checkpoint with a lower learning rate"
            )
        return {**summed, "grad_norm": float(norm), "learning_rate": self._settings.learning_rate}

    def copied_parts(self) -> dict[str, torch.Tensor]:
        """Copies in host memory of what this rank holds of each tensor."""
        with self._residence.at_hand("weights"):
            return {
                name: shard.read().detach().to("cpu", copy=True).contiguous()
                for name, shard in self.shards().items()
            }

    def export(self) -> Iterator[tuple[str, torch.Tensor]]:
        """All weights under their Hugging Face names, whole, one after the other, on every rank.

        Their order is that of the buckets that they arrive in. What is not gathered is a view of the weight
        itself; copy what is kept.
        """
        with self._residence.at_hand("weights"):
            for tensor, weight in self.gather(self.replica_groups()):
                yield tensor.name, weight

    def replica_groups(self) -> WeightGroups:
        """Groups in which all weights are gathered, created when first asked for, by all ranks together."""
        if self._replica_groups is None:
            strategy = self.layout.strategy
            whole = GenerationStrategy(replicas=strategy.devices, max_sequences=1)
            self._replica_groups = weight_groups(
                strategy, whole, grouping="vanilla", timeout=COLLECTIVE_TIMEOUT
            )
        return self._replica_groups

    def gather(self, groups: WeightGroups, *, bucket_bytes: int = BUCKET_BYTES) -> WeightGather:
        """The weights gathered among some of the ranks; iterate over it on all of them.

        Offloaded weights come to the device for that and stay there until `offload`.
        """
        self._residence.bring("weights")
        held = self.shards()
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
        with self.layout, self._residence.at_hand("weights", "states"):
            states.save(Path(folder), self._bare_chunks(), self._optimizer_or_none())

    def load_state(self, folder: str | Path) -> None:
        """Go on from what `save_state` wrote, also where that was another layout."""
        self._residence.bring("weights", "states")
        with self.layout:
            states.load(Path(folder), self._bare_chunks(), self._optimizer_or_none())
        self.offload()

    def static_bytes(self) -> dict[str, int]:
        """Bytes of this rank's parameters, gradients and optimizer states, padding of buffers included.

        Wherever they lie: what is offloaded counts as well.
        """
        with self._residence.at_hand("weights", "gradients", "states"):
            return {
                "parameters": _bytes(self._weights()),
                "gradients": _bytes(self._gradients()),
                "optimizer": sum(
                    {tensor.data_ptr(): tensor.nbytes for tensor in self._own_states()}.values()
                ),
            }

    def _run(self, batches: Sequence[Batch], evaluate: Evaluate, *, forward_only: bool) -> list[Any]:
        with self.layout:
            return run(
                self._chunks,
                batches,
                evaluate,
                layout=self.layout,
                head=self.head,
                temperature=self._temperature,
                forward_only=forward_only,
            )

    def _stores(self) -> dict[Part, Store]:
        return {
            "weights": Store(tensors=self._weights),
            "gradients": Store(tensors=self._gradients, keeps=False),
            "states": Store(tensors=self._own_states),
        }

    def _weights(self) -> Iterator[torch.Tensor]:
        for chunk in self._chunks:
            yield from chunk.parameters()

    def _gradients(self) -> Iterator[torch.Tensor]:
        if self._settings is None:
            return
        for chunk in self._chunks:
            for buffer in (*chunk.buffers, *chunk.expert_parallel_buffers):
                yield buffer.grad_data

    def _own_states(self) -> Iterator[torch.Tensor]:
        """Main parameters and moments that do not lie in the parameters themselves."""
        if self._settings is None:
            return
        weights = {storage.data_ptr() for storage in storages(self._weights())}
        for tensor in adam.state_tensors(self._optimizer):
            if tensor.untyped_storage().data_ptr() not in weights:
                yield tensor

    def _bare_chunks(self) -> list[MegatronModule]:
        """The modules without the wrappers of data parallelism and bf16."""
        return [unwrap_model(chunk) for chunk in self._chunks]

    def _optimizer_or_none(self) -> MegatronOptimizer | None:
        return None if self._settings is None else self._optimizer

    def shards(
        self, of: Callable[[torch.nn.Parameter], torch.Tensor] = lambda parameter: parameter.data
    ) -> dict[str, Shard]:
        """The parts that this rank holds, by Hugging Face name; of experts those of its expert coordinate.

        Parameters
        ----------
        of
            What to look at of each parameter, such as its gradient instead of its data.
        """
        strategy = self.layout.strategy
        part = expert_coordinate(strategy, self.layout.at)
        first = part * self.model.moe.experts // strategy.expert if self.model.moe else 0
        return {
            name: shard
            for chunk in self._bare_chunks()
            for name, shard in shards(chunk, self.model, first_expert=first, of=of).items()
        }

    def _part(self, source: ModelFolder, tensor: WeightTensor) -> torch.Tensor:
        if tensor.name == "score.weight" and tensor.name not in source:
            if self._settings is None:
                raise SpecError(f"{source.path}: has no score.weight, the head of a reward model")
            generator = torch.Generator().manual_seed(self._seed)
            return torch.randn(tensor.shape, generator=generator) / (self.model.hidden + 1) ** 0.5
        at = self.layout.at
        return source.part(tensor, index=at.tensor, count=self.layout.strategy.tensor)


def _bytes(tensors: Iterator[torch.Tensor]) -> int:
    return sum(storage.nbytes() for storage in storages(tensors))
