"""Generation with vLLM inside the training processes."""

import gc
import uuid
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from vllm import LLM, SamplingParams

from planner.domain.grouping import Grouping, generation_groups, generation_place
from planner.domain.model import ModelSpec, Precision
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.errors import SpecError
from runtime.engines.groups import weight_groups
from runtime.engines.limits import generation_problems, refuse
from runtime.engines.requests import Request, Response, Rollout, Sampling, logprobs, parameters
from runtime.platform import COLLECTIVE_TIMEOUT, current_device, device_kind, release_memory
from runtime.platform import vllm as platform
from runtime.platform.patches import apply_once

_DTYPE = {"bf16": "bfloat16", "fp32": "float32"}
_BLOCK_TOKENS = {"cpu": 32, "cuda": 16}
"""Tokens of one block of the KV cache; the CPU build wants multiples of 32."""

_ON_CUDA = {
    "enable_sleep_mode": True,
    # of the device's memory, which must be free at the start; what the cache takes is said in bytes
    "gpu_memory_utilization": 0.01,
    # its kernels read the memory of devices that a process of one device does not see; NCCL needs not
    "disable_custom_all_reduce": True,
}


class GenerationEngine:
    """One rank of one generation replica. Its weights come only through `load`; until then it sleeps.

    Keep it until the process ends: vLLM takes ``torch.distributed`` down with it.

    All ranks of the world construct it together, after ``torch.distributed`` is initialised; ranks of one
    tensor group then make the same calls with the same arguments.

    Parameters
    ----------
    train
        Layout of the weights that are going to be resharded on these ranks; for a pool that only generates,
        ``p1 t{t_g} d{replicas}``.
    maximum_tokens
        Greatest length of prompt and response together.
    kv_cache_bytes
        Of this rank; None fits the strategy's ``cache_tokens``, or without those ``max_sequences`` sequences
        of the greatest length.
    prefill_tokens
        Prompt tokens that one pass takes in at most, on CUDA; None for vLLM's default.
    grouping
        Which ranks generate together and gather from each other; all but the default are for comparison.
    temperature
        What logits are divided by before anything else: part of the model, so that all log-probabilities are
        those of the policy at it, and a `Sampling` of temperature 1 samples from it.

    Raises
    ------
    PlanMismatchError
        If vLLM can't run the layout, or the layouts don't fit each other.
    SpecError
        If the model has no folder.
    """

    def __init__(
        self,
        *,
        model: ModelSpec,
        train: ParallelStrategy,
        generate: GenerationStrategy,
        rank: int,
        precision: Precision,
        maximum_tokens: int,
        kv_cache_bytes: int | None,
        prefill_tokens: int | None = None,
        grouping: Grouping = "zero-redundancy",
        temperature: float = 1.0,
    ) -> None:
        if model.folder is None:
            raise SpecError(f"{model.name}: generation needs the folder of the model's config file")
        refuse(generation_problems(model, train, generate, maximum_tokens=maximum_tokens))
        apply_once(platform.PATCHES)
        self.model, self.train, self.generation = model, train, generate
        self.maximum_tokens = maximum_tokens
        self.grouping = grouping
        _, self.shard, self.replica = generation_place(train, generate, rank, grouping)
        self.groups = weight_groups(train, generate, grouping=grouping, timeout=COLLECTIVE_TIMEOUT)
        self._tag = _shared_name()
        self._asleep: set[str] = set()
        if kv_cache_bytes is None:
            kv_cache_bytes = _kv_cache_bytes(model, generate, precision, maximum_tokens)
        ranks = [member for group in generation_groups(train, generate, grouping) for member in group]
        local_rank = current_device().index or 0
        with platform.launched(rank=rank, local_rank=local_rank, ranks=ranks, tag=self._tag):
            self._llm = LLM(
                model=model.folder,
                load_format="dummy",
                dtype=_DTYPE[precision],
                tensor_parallel_size=generate.tensor,
                distributed_executor_backend="external_launcher",
                max_model_len=maximum_tokens,
                max_num_seqs=generate.max_sequences,
                kv_cache_memory_bytes=kv_cache_bytes,
                block_size=_BLOCK_TOKENS[device_kind()],
                skip_tokenizer_init=True,
                enforce_eager=device_kind() == "cpu",
                enable_chunked_prefill=device_kind() == "cuda",
                seed=0,
                **(_on_cuda(generate, maximum_tokens, prefill_tokens) if device_kind() == "cuda" else {}),
            )
        self._llm.apply_model(partial(_temper, temperature))
        dist.barrier()
        platform.remove_shared_memory(self._tag)  # all ranks have it open; a killed one leaves no name behind
        self.sleep()

    def load(self, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Replace all weights by those given under their Hugging Face names, full-sized.

        Of a tensor that tensor parallelism cuts, only the rows or columns of this rank's shard are read.
        What training in the same process has freed is given back first: the engine may need it. The KV cache
        comes when something is first asked, so that until then others can have its memory.
        """
        release_memory()
        self._wake("weights")
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(tensors)})
        self._llm.apply_model(platform.repack_tied_head)
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("a rollout is still under way: interrupt it before the weights change")

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, seeds: Sequence[int]
    ) -> list[Response]:
        """Respond to each prompt; what is sampled depends on the prompt, the weights and its seed only."""
        requests = [Request(prompt=prompt, seed=seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        outputs = self._run(prompts, [parameters(sampling, request) for request in requests])
        return [_response(output.outputs[0]) for output in outputs]

    def start(self, requests: Sequence[Request], sampling: Sampling) -> Rollout:
        """Begin to respond, to be advanced a step at a time and interrupted when enough responses are there.

        A `Request` that carries an interrupted response goes on from it. Interrupt each rollout, also one
        whose responses are all finished, before anything else is asked of the engine.
        """
        self._wake("kv_cache")
        return Rollout(self._llm.llm_engine, requests, sampling)

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probability of each token of each sequence but the first."""
        sampling = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        outputs = self._run(sequences, [sampling] * len(sequences))
        return [
            logprobs(sequence[1:], output.prompt_logprobs[1:])
            for sequence, output in zip(sequences, outputs, strict=True)
        ]

    def sleep(self) -> None:
        """Give the weights' and the KV cache's memory back until the next `load`; nothing on a CPU."""
        if device_kind() == "cuda":
            self._llm.sleep(level=2)
            self._asleep = {"weights", "kv_cache"}

    def close(self) -> None:
        """Shut the engine down, and with it ``torch.distributed``: the last thing a process does."""
        dist.barrier()
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        gc.collect()

    def _run(self, prompts: Sequence[Sequence[int]], sampling: list[SamplingParams]) -> list[Any]:
        if not prompts:
            return []
        self._wake("kv_cache")
        inputs = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        return self._llm.generate(inputs, sampling, use_tqdm=False)

    def _wake(self, what: str) -> None:
        if what in self._asleep:
            release_memory()  # what was offloaded since is still torch's, and this comes from the device
            self._llm.wake_up(tags=[what])
            self._asleep.remove(what)


def _temper(temperature: float, model: Any) -> None:
    model.logits_processor.scale = 1 / temperature


def _on_cuda(generate: GenerationStrategy, maximum_tokens: int, prefill_tokens: int | None) -> dict[str, Any]:
    """Further arguments on CUDA; a pass has room for a token of each sequence, and not for more than all."""
    if prefill_tokens is None:
        return _ON_CUDA
    sequences = generate.max_sequences
    passed = min(max(prefill_tokens, sequences), sequences * maximum_tokens)
    return {**_ON_CUDA, "max_num_batched_tokens": passed}


def _kv_cache_bytes(
    model: ModelSpec, generate: GenerationStrategy, precision: Precision, maximum_tokens: int
) -> int:
    """Room for the strategy's tokens, or all sequences at their greatest length, and vLLM's null block.

    Sequences take whole blocks, so each has those of its share of the tokens.
    """
    size, sequences = _BLOCK_TOKENS[device_kind()], generate.max_sequences
    tokens = sequences * maximum_tokens if generate.cache_tokens is None else generate.cache_tokens
    blocks = sequences * -(-tokens // (sequences * size))
    return (blocks + 1) * size * model.kv_bytes_per_token(precision) // generate.tensor


def _shared_name() -> str:
    """A name that no other world on this host has, equal on all ranks."""
    box = [f"hybridmap-{uuid.uuid4().hex[:12]}"]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def _response(output: Any) -> Response:
    tokens = list(output.token_ids)
    return Response(tokens=tokens, logprobs=logprobs(tokens, output.logprobs))
