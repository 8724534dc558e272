"""What reward functions of other systems are called with, and what they return.

``verl``
    ``compute_score(data_source, solution_str, ground_truth, extra_info=None)`` of one sample: a number, or a
    dict with ``score`` whose other numbers are reported.
``verl-batched``
    ``compute_score(data_sources, solution_strs, ground_truths, extra_infos)`` of all samples: a list.
``openrlhf``
    ``reward_func(queries, prompts, labels)``: a list or tensor, or a dict with ``rewards`` and perhaps
    ``extra_logs``; queries are prompt and response in one text, special tokens included.
``trl``
    ``reward_func(prompts, completions, completion_ids, **columns)``: a list, in which None counts 0. Prompts
    and completions are conversations, or texts where the tokenizer has no chat template. A column that any
    prompt of the run has is always given, with None for prompts without it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from planner.domain.run import Signature
from runtime.data import Prompt

Arguments = Mapping[str, Any]


class Tokenizer(Protocol):
    """What shows tokens as texts."""

    chat_template: Any
    """How conversations are rendered; None where there are only texts."""

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Tokens as a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Prompts and responses, one entry per sample."""

    prompts: Sequence[Prompt]
    prompt_tokens: Sequence[Sequence[int]]
    response_tokens: Sequence[Sequence[int]]
    tokenizer: Tokenizer
    columns: Sequence[str] = ()
    """Names of all columns that prompts of the run have beside verl's."""

    def texts(self, tokens: Sequence[Sequence[int]], *, special: bool = False) -> list[str]:
        """Tokens as texts, with special tokens or without."""
        return [self.tokenizer.decode(row, skip_special_tokens=not special) for row in tokens]


def columns_of(prompts: Sequence[Prompt]) -> tuple[str, ...]:
    """Names of the columns that any of the prompts has beside verl's."""
    return tuple(dict.fromkeys(name for prompt in prompts for name in prompt.columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One signature."""

    parameter: str
    """That no other signature has."""
    calls: Callable[[Samples], list[Arguments]]
    """Arguments of each call: one per sample, or one for all of them."""
    results: Callable[[Any], Sequence[Any]]
    """What one call returns for each of its samples: a number, or a dict with ``score``."""


def _verl(samples: Samples) -> list[Arguments]:
    return [
        {
            "data_source": prompt.data_source,
            "solution_str": response,
            "ground_truth": prompt.ground_truth,
            "extra_info": dict(prompt.extra_info),
        }
        for prompt, response in zip(samples.prompts, samples.texts(samples.response_tokens), strict=True)
    ]


def _verl_batched(samples: Samples) -> list[Arguments]:
    return [
        {
            "data_sources": [prompt.data_source for prompt in samples.prompts],
            "solution_strs": samples.texts(samples.response_tokens),
            "ground_truths": [prompt.ground_truth for prompt in samples.prompts],
            "extra_infos": [dict(prompt.extra_info) for prompt in samples.prompts],
        }
    ]


def _openrlhf(samples: Samples) -> list[Arguments]:
    pairs = zip(samples.prompt_tokens, samples.response_tokens, strict=True)
    return [
        {
            "queries": samples.texts([[*prompt, *response] for prompt, response in pairs], special=True),
            "prompts": samples.texts(samples.prompt_tokens, special=True),
            "labels": [prompt.ground_truth for prompt in samples.prompts],
        }
    ]


def _trl(samples: Samples) -> list[Arguments]:
    responses: list[Any] = samples.texts(samples.response_tokens)
    prompts: list[Any] = [prompt.conversation for prompt in samples.prompts]
    if samples.tokenizer.chat_template is None:
        prompts = [prompt.messages[0].content for prompt in samples.prompts]
    else:
        responses = [[{"role": "assistant", "content": response}] for response in responses]
    return [
        {
            **_columns(samples.prompts, samples.columns),
            "prompts": prompts,
            "completions": responses,
            "completion_ids": [list(row) for row in samples.response_tokens],
        }
    ]


def _columns(prompts: Sequence[Prompt], names: Sequence[str]) -> dict[str, list[Any]]:
    """All columns of the prompts' files but the prompts themselves."""
    return {
        **{name: [prompt.columns.get(name) for prompt in prompts] for name in names},
        "data_source": [prompt.data_source for prompt in prompts],
        "ability": [prompt.ability for prompt in prompts],
        "ground_truth": [prompt.ground_truth for prompt in prompts],
        "extra_info": [dict(prompt.extra_info) for prompt in prompts],
    }


def _openrlhf_results(returned: Any) -> Sequence[Any]:
    if not isinstance(returned, Mapping):
        return _flat(returned)
    rewards = _flat(returned["rewards"])
    logs = {name: _flat(values) for name, values in returned.get("extra_logs", {}).items()}
    spread = {name: values * len(rewards) if len(values) == 1 else values for name, values in logs.items()}
    return [
        {"score": reward, **{name: values[number] for name, values in spread.items()}}
        for number, reward in enumerate(rewards)
    ]


def _flat(values: Any) -> list[Any]:
    return np.asarray(values).reshape(-1).tolist()


def _zero_for_none(returned: Any) -> Sequence[Any]:
    return [0.0 if score is None else score for score in returned]


ADAPTERS: Mapping[Signature, Adapter] = {
    "verl": Adapter(parameter="solution_str", calls=_verl, results=lambda returned: [returned]),
    "verl-batched": Adapter(parameter="solution_strs", calls=_verl_batched, results=list),
    "openrlhf": Adapter(parameter="queries", calls=_openrlhf, results=_openrlhf_results),
    "trl": Adapter(parameter="completions", calls=_trl, results=_zero_for_none),
}
