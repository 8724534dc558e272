"""Prompts: read from a file, dealt out to iterations, and encoded to tokens.

A prompt file has one JSON object a line, with the columns of verl's data sets. Only ``prompt`` is required: a
conversation, or a string, which is short for one message of the user.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from transformers import PreTrainedTokenizerBase

from planner.errors import SpecError

_MOST_COMPLAINTS = 10
_WORDING = (
    ("Input should be", "expected"),
    ("Field required", "is missing"),
    ("Value error, ", ""),
    ("at line 1 column", "at column"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSource:
    """How a response is judged: ``model`` or ``rule``, and what a rule compares it with."""

    style: str
    ground_truth: JsonValue = None


def _conversation(prompt: object) -> list[object]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or not prompt:
        raise ValueError("expected a text, or a list of messages with role and content")
    return prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One line of a prompt file; unknown columns are dropped."""

    messages: Annotated[tuple[Message, ...], Field(validation_alias="prompt"), BeforeValidator(_conversation)]
    data_source: str = ""
    ability: str = ""
    reward_model: RewardSource | None = None
    extra_info: Mapping[str, JsonValue] = field(default_factory=dict)


_PROMPT = TypeAdapter(Prompt)


def read_prompts(path: Path) -> list[Prompt]:
    """Read a prompt file; blank lines are skipped.

    Raises
    ------
    SpecError
        The file cannot be read or holds no prompt, or lines are wrong; names them with their columns.
    """
    prompts, complaints = [], []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            prompts.append(_PROMPT.validate_json(line))
        except ValidationError as error:
            complaints += [f"{path}:{number}: {_complaint(detail)}" for detail in error.errors()]
    if complaints:
        raise SpecError(_shortened(complaints))
    if not prompts:
        raise SpecError(f"{path}: holds no prompt; expected one JSON object a line")
    return prompts


def encode_prompts(
    prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase, *, maximum_tokens: int
) -> list[list[int]]:
    """Render each conversation by the tokenizer's chat template, up to where the response starts.

    A tokenizer without a template, of a base model, takes prompts of one message and encodes its text.

    Raises
    ------
    SpecError
        A prompt is longer than `maximum_tokens`, or needs a template that is not there.
    """
    if tokenizer.chat_template is None:
        encoded = tokenizer([_only_message(prompt) for prompt in prompts]).input_ids
    else:
        conversations = [
            [{"role": message.role, "content": message.content} for message in prompt.messages]
            for prompt in prompts
        ]
        encoded = tokenizer.apply_chat_template(conversations, add_generation_prompt=True, return_dict=False)
    complaints = [
        f"prompt {_shown(prompt)}: has {len(tokens)} tokens, at most {maximum_tokens} fit"
        for prompt, tokens in zip(prompts, encoded, strict=True)
        if len(tokens) > maximum_tokens
    ]
    if complaints:
        raise SpecError(_shortened(complaints))
    return encoded


@dataclass(frozen=True, slots=True)
class PromptLoader:
    """Deals prompts out to iterations; a batch depends on the seed and the number of the iteration alone.

    Every epoch has each prompt once, in an order of its own. A batch at the end of an epoch is filled up from
    the next, so that none is short and no prompt is left out.
    """

    prompts: Sequence[Prompt]
    _: KW_ONLY
    prompts_per_iteration: int
    seed: int

    def __post_init__(self) -> None:
        if not self.prompts:
            raise SpecError("prompts: there are none; expected at least 1")
        if self.prompts_per_iteration < 1:
            raise SpecError(f"prompts_per_iteration: is {self.prompts_per_iteration}; expected at least 1")

    def batch(self, iteration: int) -> list[Prompt]:
        """Prompts of one iteration; the first is 0."""
        size = len(self.prompts)
        start = iteration * self.prompts_per_iteration
        places = [divmod(place, size) for place in range(start, start + self.prompts_per_iteration)]
        orders = {epoch: self._order(epoch) for epoch, _ in places}
        return [self.prompts[orders[epoch][place]] for epoch, place in places]

    def _order(self, epoch: int) -> list[int]:
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.prompts)).tolist()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is not UTF-8 at byte {error.start}") from error


def _complaint(detail: ErrorDetails) -> str:
    """Say in our words what pydantic says about one line."""
    expectation = detail["msg"]
    for theirs, ours in _WORDING:
        expectation = expectation.replace(theirs, ours)
    column = ".".join(str(key) for key in detail["loc"])
    return f"{column}: {expectation}" if column else expectation


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


def _shortened(complaints: list[str]) -> str:
    rest = len(complaints) - _MOST_COMPLAINTS
    more = [f"and {rest} more"] if rest > 0 else []
    return "\n".join([*complaints[:_MOST_COMPLAINTS], *more])
