"""Prompts and pretraining data as tokens."""

import json
from collections.abc import Sequence

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from planner.domain.plan import Plan
from planner.domain.run import Overlong
from planner.errors import SpecError
from runtime.data import Prompt, Text, shortened


def tokenizer_of(plan: Plan) -> PreTrainedTokenizerBase:
    """The tokenizer of the model that generates."""
    role = next(role for role, strategy in plan.strategies.items() if strategy.generate is not None)
    return AutoTokenizer.from_pretrained(plan.scenario.model_of(role).folder)


def encode_prompts(
    prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase, *, maximum_tokens: int, overlong: Overlong
) -> dict[int, np.ndarray]:
    """Render each conversation by the tokenizer's chat template, up to where the response starts.

    A tokenizer without a template, of a base model, takes prompts of one message and encodes its text.

    Returns
    -------
    Tokens by the prompt's number, without prompts that are dropped.

    Raises
    ------
    SpecError
        A prompt is longer than `maximum_tokens` and may neither be dropped nor cut; or it needs a template
        that is not there.
    """
    encoded = _encoded(prompts, tokenizer)
    if overlong == "truncate":
        return {number: _array(tokens[-maximum_tokens:]) for number, tokens in enumerate(encoded)}
    complaints = [
        f"prompt {_shown(prompt)}: has {len(tokens)} tokens, at most {maximum_tokens} fit"
        for prompt, tokens in zip(prompts, encoded, strict=True)
        if len(tokens) > maximum_tokens
    ]
    if complaints and overlong == "error":
        raise SpecError(shortened(complaints))
    if len(complaints) == len(prompts):
        raise SpecError(f"no prompt is left of {len(prompts)}: all have more than {maximum_tokens} tokens")
    return {number: _array(tokens) for number, tokens in enumerate(encoded) if len(tokens) <= maximum_tokens}


def encode_text(text: Text, tokenizer: PreTrainedTokenizerBase, *, maximum_tokens: int) -> list[int]:
    """Tokens of pretraining data, the token that ends a text behind them, cut to `maximum_tokens`."""
    if text.tokens is None:
        tokens = list(tokenizer(text.text, truncation=True, max_length=maximum_tokens).input_ids)
    else:
        tokens = list(text.tokens)
    end = tokenizer.eos_token_id
    return (tokens if end is None or tokens[-1] == end else [*tokens, end])[:maximum_tokens]


def _encoded(prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    if tokenizer.chat_template is None:
        return tokenizer([_only_message(prompt) for prompt in prompts]).input_ids
    conversations = [prompt.conversation for prompt in prompts]
    return tokenizer.apply_chat_template(conversations, add_generation_prompt=True, return_dict=False)


def _array(tokens: Sequence[int]) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def _only_message(prompt: Prompt) -> str:
    if len(prompt.messages) > 1:
        count = len(prompt.messages)
        raise SpecError(
            f"prompt {_shown(prompt)}: has {count} messages, but the tokenizer has no chat template"
        )
    return prompt.messages[0].content


def _shown(prompt: Prompt) -> str:
    text = prompt.messages[-1].content
    return json.dumps(text if len(text) <= 40 else f"{text[:40]}...")
