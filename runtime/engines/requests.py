"""Requests to vLLM's engine, from prompt to response, in one go or interrupted and continued."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.llm_engine import LLMEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How all responses of one generation are drawn."""

    temperature: float
    """Beside the engine's own; 0 takes the likeliest token."""
    maximum_response_tokens: int
    stop_tokens: tuple[int, ...] = ()
    """Each ends a response; without any, every response reaches the maximum."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have this probability are drawn."""
    top_k: int | None = None
    """Only so many of the likeliest tokens are drawn; None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What was generated for one prompt."""

    tokens: list[int]
    """With the stop token, if it was reached."""
    logprobs: list[float]
    """Of each token under the weights that drew it, of the whole vocabulary at the engine's temperature."""
    is_finished: bool = True
    """Whether it ended by itself; if not, it was interrupted and can go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One response that is wanted, or the rest of one."""

    prompt: Sequence[int]
    seed: int
    """Of the sample; its continuations draw from seeds of their own, made of this one and their start."""
    so_far: Response | None = None
    """What was generated before, perhaps by other weights."""

    @property
    def done(self) -> Response:
        """What is there already."""
        return self.so_far or Response(tokens=[], logprobs=[], is_finished=False)

    @property
    def sampling_seed(self) -> int:
        """Seed of the tokens that are still to come.

        >>> Request(prompt=[1], seed=7).sampling_seed
        7
        """
        if not self.done.tokens:
            return self.seed
        text = f"{self.seed}/{len(self.done.tokens)}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def parameters(sampling: Sampling, request: Request, *, steps: bool = False) -> SamplingParams:
    """vLLM's parameters of one request.

    Parameters
    ----------
    steps
        Whether the engine tells the tokens of each step, rather than all at the end.
    """
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k or 0,
        seed=request.sampling_seed,
        max_tokens=sampling.maximum_response_tokens - len(request.done.tokens),
        stop_token_ids=list(sampling.stop_tokens),
        ignore_eos=True,
        logprobs=0,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA if steps else RequestOutputKind.FINAL_ONLY,
    )


class Rollout:
    """Several requests on their way through the engine, a step at a time.

    Ranks of one tensor group make the same calls; what a step does depends on the requests only, not on the
    clock.
    """

    def __init__(self, engine: LLMEngine, requests: Sequence[Request], sampling: Sampling) -> None:
        self._engine = engine
        self._tokens = [list(request.done.tokens) for request in requests]
        self._logprobs = [list(request.done.logprobs) for request in requests]
        self._running = {
            index
            for index, request in enumerate(requests)
            if not request.done.is_finished and len(request.done.tokens) < sampling.maximum_response_tokens
        }
        for index in sorted(self._running):
            request = requests[index]
            prompt = {"prompt_token_ids": [*request.prompt, *request.done.tokens]}
            engine.add_request(str(index), prompt, parameters(sampling, request, steps=True))

    @property
    def running(self) -> int:
        """Responses that are not finished."""
        return len(self._running)

    def advance(self) -> list[int]:
        """One step of the engine; the requests, by index, that it finished."""
        finished = []
        for output in self._engine.step():
            index, part = int(output.request_id), output.outputs[0]
            self._tokens[index].extend(part.token_ids)
            self._logprobs[index].extend(logprobs(part.token_ids, part.logprobs))
            if output.finished:
                self._running.remove(index)
                finished.append(index)
        return finished

    def interrupt(self) -> list[Response]:
        """End it: all responses in the order of their requests, unfinished ones as far as they are."""
        self._engine.abort_request([str(index) for index in sorted(self._running)])
        for _ in range(self._engine.vllm_config.max_concurrent_batches):
            self._engine.step()  # what was under way, and freeing what it held
        return [
            Response(tokens=tokens, logprobs=logprobs, is_finished=index not in self._running)
            for index, (tokens, logprobs) in enumerate(zip(self._tokens, self._logprobs, strict=True))
        ]


def logprobs(tokens: Sequence[int], entries: Sequence[Any]) -> list[float]:
    """Of the tokens themselves, out of vLLM's entries of several candidates each."""
    return [entry[token].logprob for token, entry in zip(tokens, entries, strict=True)]
