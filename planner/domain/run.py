"""What a run needs beyond a plan: its prompts, rewards, rates, and who is told of its numbers."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from planner.domain.mistakes import closest
from planner.domain.quantities import PositiveInt, Value

TrackerName = Literal["console", "jsonl", "tensorboard", "wandb", "mlflow"]
"""A line per iteration, ``metrics.jsonl``, TensorBoard's events, Weights & Biases, MLflow."""
TRACKER_PACKAGES: Mapping[str, str] = MappingProxyType({"wandb": "wandb", "mlflow": "mlflow"})
"""Packages of trackers that are installed by whoever wants them."""
Overlong = Literal["error", "drop", "truncate"]
"""What becomes of a prompt that is longer than the workload says: nothing runs, it is left out, its first
tokens are cut off."""
Signature = Literal["verl", "verl-batched", "openrlhf", "trl"]
"""Whose arguments a reward function takes: a sample at a time, or lists of all samples."""


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Files = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""Paths; a single one may be written without a list."""


class RewardFunctionSettings(Value):
    """A Python function that scores responses."""

    path: str
    """Python file that defines it."""
    name: str = "compute_score"
    weight: float = 1.0
    """What its scores are multiplied with; where the role has a model, the model's are added to them."""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """Further keyword arguments of each call."""
    signature: Signature | None = None
    """Whose arguments it takes; none for what the names of its parameters say."""


class RunSettings(Value):
    """What a run needs beyond a plan."""

    prompts: Annotated[Files, Field(min_length=1)]
    """JSONL or Parquet files of prompts, in the columns of verl's data sets."""
    prompt_key: str = "prompt"
    """Column of the prompts."""
    label_key: str | None = None
    """Column of what a reward function compares responses with; none for ``reward_model.ground_truth``."""
    overlong_prompts: Overlong = "error"
    shuffle: bool = True
    """Whether every epoch has an order of its own; else the files'."""
    pretraining: Files = ()
    """JSONL or Parquet files with a column ``text`` or ``tokens``, for updates that learn from such data."""
    reward_function: RewardFunctionSettings | None = None
    """Of the role ``reward``, beside its model or as a service."""
    cost_function: RewardFunctionSettings | None = None
    """Of the role ``cost``, likewise."""
    iterations: PositiveInt = 20
    seed: int = Field(default=0, ge=0, strict=True)
    temperature: float = Field(default=1.0, ge=0)
    """What logits are divided by; 0 takes the likeliest token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Least probability of the likeliest tokens that are sampled from."""
    top_k: PositiveInt | None = None
    """Number of the likeliest tokens that are sampled from; none for all."""
    actor_learning_rate: float = Field(default=1e-4, gt=0)
    critic_learning_rate: float = Field(default=1e-4, gt=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    logprob_tolerance: float | None = Field(default=None, gt=0)
    """Greatest difference between vLLM's and Megatron's log-probabilities that lets the run go on; none for
    what the scenario's precision allows."""
    trackers: tuple[TrackerName, ...] = ("console", "jsonl", "tensorboard")
    """Who is told each iteration's metrics."""
    project: str = Field(default="hybridmap", min_length=1)
    """Project of W&B, experiment of MLflow."""
    checkpoint_every: PositiveInt = 10
    """Iterations from one checkpoint to the next; the last iteration always has one."""

    @property
    def policy_temperature(self) -> float:
        """Of the actor and the reference as policies; 1 where only the likeliest tokens are taken.

        >>> [RunSettings(prompts="p.jsonl", temperature=each).policy_temperature for each in (0.6, 0.0)]
        [0.6, 1.0]
        """
        return self.temperature or 1.0

    def resumes(self, other: "RunSettings") -> bool:
        """Whether a run with these settings may go on where one with the others stopped."""
        told = {"iterations": 1, "trackers": (), "project": "any", "checkpoint_every": 1}
        return self.model_copy(update=told) == other.model_copy(update=told)

    @property
    def functions(self) -> Mapping[str, RewardFunctionSettings]:
        """The functions of the roles that have one."""
        given = {"reward": self.reward_function, "cost": self.cost_function}
        return {role: function for role, function in given.items() if function is not None}

    @property
    def files(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every file that the run reads, with its key path below ``run``."""
        for key in ("prompts", "pretraining"):
            for index, path in enumerate(getattr(self, key)):
                yield (key, index), path
        for role, function in self.functions.items():
            yield (f"{role}_function", "path"), function.path


def missing_function(function: RewardFunctionSettings) -> str | None:
    """Why a file can't define the function that is named; its code is read, not run.

    None as well where only running it would show, as after ``from rules import *``.
    """
    try:
        module = ast.parse(Path(function.path).read_bytes())
    except SyntaxError as error:
        return f"{function.path}:{error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
        return f"{function.path}: cannot be read: {error}"
    names = list(_top_names(module.body))
    if function.name in names or "*" in names:
        return None
    shown = ", ".join(names) or "nothing"
    return f"{function.path}: defines no {function.name!r}{closest(function.name, names)} (it has {shown})"


def _top_names(statements: list[ast.stmt]) -> Iterator[str]:
    """Names that a module has once it is run, those inside ``if`` and ``try`` among them."""
    for statement in statements:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
                yield from (alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.If(body=body, orelse=other):
                yield from _top_names([*body, *other])
            case ast.Try(body=body, handlers=handlers, orelse=other, finalbody=last):
                rest = [inner for handler in handlers for inner in handler.body]
                yield from _top_names([*body, *rest, *other, *last])
