"""Prompts and pretraining data as tokens."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
from jinja2 import TemplateError
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
        A prompt is longer than `maximum_tokens` and may neither be dropped nor cut, has no token at all, is
        refused by the template, or needs a template that is not there.
    """
    encoded = _encoded(prompts, tokenizer)
    _refuse_empty([_shown(prompt) for prompt, tokens in zip(prompts, encoded, strict=True) if not tokens])
    if overlong == "truncate":
        return {number: _array(tokens[-maximum_tokens:]) for number, tokens in enumerate(encoded)}
    complaints = [
        f"{_shown(prompt)}: has {len(tokens)} tokens, at most {maximum_tokens} fit"
        for prompt, tokens in zip(prompts, encoded, strict=True)
        if len(tokens) > maximum_tokens
    ]
    if complaints and overlong == "error":
        raise SpecError(shortened(complaints))
    if len(complaints) == len(prompts):
        raise SpecError(f"no prompt is left of {len(prompts)}: all have more than {maximum_tokens} tokens")
    return {number: _array(tokens) for number, tokens in enumerate(encoded) if len(tokens) <= maximum_tokens}


def encode_texts(
    texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, *, maximum_tokens: int
) -> list[np.ndarray]:
    """Tokens of pretraining data.

    Raises
    ------
    SpecError
        A text has no token.
    """
    encoded = [_array(encode_text(text, tokenizer, maximum_tokens=maximum_tokens)) for text in texts]
    pairs = zip(texts, encoded, strict=True)
    _refuse_empty(
        [f"{text.where}: text {_cut(text.text or '')}" for text, tokens in pairs if not tokens.size]
    )
    return encoded


def encode_text(text: Text, tokenizer: PreTrainedTokenizerBase, *, maximum_tokens: int) -> list[int]:
    """Its tokens and the token that ends a text, cut to `maximum_tokens`; nothing where it has none."""
    if text.tokens is None:
        tokens = list(tokenizer(text.text, truncation=True, max_length=maximum_tokens).input_ids)
    else:
        tokens = list(text.tokens)
    end = tokenizer.eos_token_id
    is_ended = not tokens or end is None or tokens[-1] == end
    return (tokens if is_ended else [*tokens, end])[:maximum_tokens]


def _encoded(prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    if tokenizer.chat_template is None:
        return tokenizer([_only_message(prompt) for prompt in prompts]).input_ids
    conversations = [prompt.conversation for prompt in prompts]
    try:
        return tokenizer.apply_chat_template(conversations, add_generation_prompt=True, return_dict=False)
    except TemplateError:
        raise SpecError(shortened(list(_template_complaints(prompts, tokenizer)))) from None


def _template_complaints(prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    for prompt in prompts:
        try:
            tokenizer.apply_chat_template(prompt.conversation, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            yield f"{_shown(prompt)}: the tokenizer's chat template refuses it: {error}"


def _refuse_empty(shown: Sequence[str]) -> None:
    if shown:
        raise SpecError(shortened([f"{one}: has no token; leave it out of the file" for one in shown]))


def _array(tokens: Sequence[int]) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def _only_message(prompt: Prompt) -> str:
    if len(prompt.messages) > 1:
        count = len(prompt.messages)
        raise SpecError(f"{_shown(prompt)}: has {count} messages, but the tokenizer has no chat template")
    return prompt.messages[0].content


def _shown(prompt: Prompt) -> str:
    """Where a prompt stands and how it begins."""
    return f"{prompt.where}: prompt {_cut(prompt.messages[-1].content)}"


def _cut(text: str) -> str:
    return json.dumps(text if len(text) <= 40 else f"{text[:40]}...")
