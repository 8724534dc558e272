"""Prompts and pretraining data: read from files, and dealt out to iterations.

A prompt file is JSONL, one JSON object a line, or Parquet, with the columns of verl's data sets. Only
``prompt`` is required: a conversation, or a string, which is short for one message of the user.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pyarrow
import pyarrow.parquet
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from planner.domain.run import RunSettings
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
    ground_truth: Any = None


def _conversation(prompt: object) -> list[object]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or not prompt:
        raise ValueError("expected a text, or a list of messages with role and content")
    return prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One row of a prompt file."""

    messages: Annotated[tuple[Message, ...], Field(validation_alias="prompt"), BeforeValidator(_conversation)]
    data_source: str = ""
    ability: str = ""
    reward_model: RewardSource | None = None
    extra_info: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    """All others, for reward functions that take them."""
    where: str = field(default="prompts", compare=False)
    """File and line that it was read from."""

    @property
    def ground_truth(self) -> Any:
        """What a response is compared with."""
        return self.reward_model.ground_truth if self.reward_model else None

    @property
    def conversation(self) -> list[dict[str, str]]:
        """The messages as chat templates take them."""
        return [{"role": message.role, "content": message.content} for message in self.messages]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One row of a file of pretraining data: a text, or its tokens."""

    text: Annotated[str, Field(min_length=1)] | None = None
    tokens: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=2)] | None = None
    where: str = field(default="texts", compare=False)
    """File and line that it was read from."""

    def __post_init__(self) -> None:
        if (self.text is None) == (self.tokens is None):
            raise ValueError("expected either the column text or the column tokens")


_T = TypeVar("_T", Prompt, Text)
_PROMPT: TypeAdapter[Prompt] = TypeAdapter(Prompt)
_TEXT: TypeAdapter[Text] = TypeAdapter(Text)
_OWN_COLUMNS = ("data_source", "ability", "reward_model", "extra_info")
_TEXT_COLUMNS = ("text", "tokens")


def read_prompts(*paths: Path, prompt_key: str = "prompt", label_key: str | None = None) -> list[Prompt]:
    """Read prompt files, one after the other; blank lines are skipped.

    Parameters
    ----------
    prompt_key
        Column of the prompts.
    label_key
        Column of the ground truths; none for ``reward_model.ground_truth``.

    Raises
    ------
    SpecError
        A file cannot be read or holds no prompt, or rows are wrong; names them with their columns.
    """
    return _read(paths, lambda row: _prompt(row, prompt_key, label_key), renamed={"prompt": prompt_key})


def prompts_of(settings: RunSettings) -> list[Prompt]:
    """All prompts of a run; a prompt's number is its place among them."""
    paths = map(Path, settings.prompts)
    return read_prompts(*paths, prompt_key=settings.prompt_key, label_key=settings.label_key)


def read_texts(*paths: Path) -> list[Text]:
    """Read files of pretraining data, as `read_prompts` does."""
    return _read(paths, _text_of, renamed={})


def texts_of(settings: RunSettings) -> list[Text]:
    """All pretraining data of a run, which may have none."""
    return read_texts(*map(Path, settings.pretraining))


def shortened(complaints: list[str]) -> str:
    """The first complaints, one a line, and how many more there are."""
    rest = len(complaints) - _MOST_COMPLAINTS
    more = [f"and {rest} more"] if rest > 0 else []
    return "\n".join([*complaints[:_MOST_COMPLAINTS], *more])


@dataclass(frozen=True, slots=True)
class PromptLoader:
    """Deals prompts out to iterations, by their numbers; they depend on seed and iteration alone.

    Every epoch has each prompt once, in an order of its own, or in the files' where they are not shuffled. A
    batch at the end of an epoch is filled up from the next, so that none is short and no prompt is left out.
    """

    numbers: Sequence[int]
    """Of the prompts that are dealt out."""
    _: KW_ONLY
    prompts_per_iteration: int
    seed: int
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not self.numbers:
            raise SpecError("prompts: there are none; expected at least 1")
        if self.prompts_per_iteration < 1:
            raise SpecError(f"prompts_per_iteration: is {self.prompts_per_iteration}; expected at least 1")

    def ids(self, iteration: int) -> list[int]:
        """Numbers of the prompts of one iteration; the first is 0."""
        size = len(self.numbers)
        start = iteration * self.prompts_per_iteration
        places = [divmod(place, size) for place in range(start, start + self.prompts_per_iteration)]
        orders = {epoch: self._order((self.seed, epoch)) for epoch in {epoch for epoch, _ in places}}
        return [self.numbers[orders[epoch][place]] for epoch, place in places]

    def further_ids(self, iteration: int) -> list[int]:
        """Numbers of the prompts that an iteration turns to when its own are used up, in their order.

        They are none of its own and of the next iteration's, unless there are no others.
        """
        taken = {*self.ids(iteration), *self.ids(iteration + 1)}
        order = [self.numbers[place] for place in self._order((self.seed, iteration, 1))]
        return [number for number in order if number not in taken] or order

    def _order(self, seed: tuple[int, ...]) -> list[int]:
        count = len(self.numbers)
        return np.random.default_rng(seed).permutation(count).tolist() if self.shuffle else list(range(count))


def _read(
    paths: Sequence[Path], parse: Callable[[dict[str, Any]], _T], *, renamed: Mapping[str, str]
) -> list[_T]:
    """What all rows of some files say, or all mistakes in them."""
    values: list[_T] = []
    complaints: list[str] = []
    for path in paths:
        before = len(values) + len(complaints)
        for where, row in _rows(path):
            try:
                values.append(replace(parse(_object(row)), where=where))
            except ValidationError as error:
                complaints += [f"{where}: {_complaint(detail, renamed)}" for detail in error.errors()]
            except ValueError as error:
                complaints.append(f"{where}: {_reworded(str(error))}")
        if len(values) + len(complaints) == before:
            complaints.append(f"{path}: holds no row; expected one JSON object a line, or Parquet with rows")
    if complaints:
        raise SpecError(shortened(complaints))
    return values


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows of a file, each with the words that name it: lines as text, rows of Parquet as they are."""
    if path.suffix == ".parquet":
        for number, row in enumerate(_parquet_rows(path)):
            yield f"{path}: row {number}", row
    else:
        for number, line in enumerate(_text(path).split("\n"), start=1):
            if line.strip():
                yield f"{path}:{number}", line


def _parquet_rows(path: Path) -> Iterator[Any]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from error
    except pyarrow.ArrowInvalid as error:
        raise SpecError(f"{path}: is not Parquet: {str(error).splitlines()[0]}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is not UTF-8 at byte {error.start}") from error


def _object(row: Any) -> dict[str, Any]:
    try:
        value = from_json(row) if isinstance(row, str) else row
    except ValueError as error:
        raise ValueError(f"Invalid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def _prompt(row: dict[str, Any], prompt_key: str, label_key: str | None) -> Prompt:
    known = {key: row[key] for key in _OWN_COLUMNS if row.get(key) is not None}
    if prompt_key in row:
        known["prompt"] = row[prompt_key]
    if label_key is not None:
        if row.get(label_key) is None:
            raise ValueError(f"{label_key}: is missing")
        known["reward_model"] = {"style": "rule", "ground_truth": row[label_key]}
    others = {key: value for key, value in row.items() if key not in (*_OWN_COLUMNS, prompt_key)}
    return _PROMPT.validate_python({**known, "columns": others})


def _text_of(row: dict[str, Any]) -> Text:
    return _TEXT.validate_python({key: row[key] for key in _TEXT_COLUMNS if key in row})


def _complaint(detail: ErrorDetails, renamed: Mapping[str, str]) -> str:
    """Say in our words what pydantic says about one row."""
    first, *rest = detail["loc"] or ("",)
    column = ".".join(str(key) for key in (renamed.get(str(first), first), *rest))
    expectation = _reworded(detail["msg"])
    return f"{column}: {expectation}" if column else expectation


def _reworded(text: str) -> str:
    for theirs, ours in _WORDING:
        text = text.replace(theirs, ours)
    return text
