"""Reward functions of the user: loaded by path, called in the signature they are written in."""

import asyncio
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from planner.domain.run import RewardFunctionSettings, missing_function
from planner.errors import SpecError
from runtime.data import Prompt
from runtime.reward_parameters import accepted, signature_for
from runtime.reward_signatures import ADAPTERS, Arguments, Samples, columns_of
from runtime.workers.call import Mean

Place = Callable[[], str]
"""Words for a sample, in a message."""

_SHOWN = 40
"""Characters of what is shown in a message."""


class RewardFunctionError(RuntimeError):
    """A reward function failed, or returned what is no score; names file, function and sample."""


class RewardFunction:
    """A reward function of the user, and the prompts whose responses it scores.

    Parameters
    ----------
    prompts
        All of the run, by their numbers.
    role
        What begins the names of what it reports.
    concurrency
        Calls that it works on at once: awaited together, or in threads. Of a function that takes all samples
        together there is one.

    Raises
    ------
    SpecError
        The file cannot be loaded, or the function does not take its arguments.
    """

    def __init__(
        self,
        settings: RewardFunctionSettings,
        prompts: Sequence[Prompt],
        tokenizer: PreTrainedTokenizerBase,
        *,
        role: str = "reward",
        concurrency: int = 1,
    ) -> None:
        self.settings = settings
        self._prompts, self._tokenizer = prompts, tokenizer
        self._columns = columns_of(prompts)
        self._role, self._concurrency = role, concurrency
        self._where = f"{settings.path}: {settings.name}"
        self._function = load_function(settings)
        self._parameters = inspect.signature(self._function)
        self._adapter = ADAPTERS[signature_for(settings, self._parameters, prompts)]
        self._runner = asyncio.Runner()
        """One event loop for all calls: what an async function keeps, as clients and locks, belongs to it."""
        finalize(self, self._runner.close)

    def scores(
        self, tokens: torch.Tensor, response_mask: torch.Tensor, prompt_ids: torch.Tensor
    ) -> tuple[np.ndarray, dict[str, Mean]]:
        """Scores of the samples, shape (b,), not weighted yet, and means of what else the function returns.

        Raises
        ------
        RewardFunctionError
            When the function fails or returns anything else.
        """
        samples = self._samples(tokens, response_mask, prompt_ids)
        if not samples.prompts:
            return np.zeros(0, dtype=np.float32), {}
        calls = self._adapter.calls(samples)
        returned = self._run(calls, _places(calls, samples))
        results = [result for value in returned for result in self._results(value)]
        if len(results) != len(samples.prompts):
            raise RewardFunctionError(
                f"{self._where} returned {len(results)} scores for {len(samples.prompts)} samples"
            )
        scores = [
            self._score(result, partial(_shown, number, samples)) for number, result in enumerate(results)
        ]
        others = [
            self._others(result, partial(_shown, number, samples)) for number, result in enumerate(results)
        ]
        means = {f"{self._role}/{name}": mean for name, mean in _means(others).items()}
        return np.array(scores, dtype=np.float32), means

    def _run(self, calls: Sequence[Arguments], places: Sequence[Place]) -> list[Any]:
        """What the function returns for each call."""
        taken = [{name: call[name] for name in accepted(self._parameters, call)} for call in calls]
        if inspect.iscoroutinefunction(self._function):
            return self._runner.run(self._gathered(taken, places))
        if self._concurrency == 1 or len(calls) == 1:
            return list(map(self._call, taken, places))
        with ThreadPoolExecutor(self._concurrency) as threads:
            return list(threads.map(self._call, taken, places))

    def _call(self, arguments: Arguments, place: Place) -> Any:
        try:
            return self._function(**arguments, **self.settings.arguments)
        except Exception as error:
            raise self._failure(error, place) from error

    async def _gathered(self, calls: Sequence[Arguments], places: Sequence[Place]) -> list[Any]:
        free = asyncio.Semaphore(self._concurrency)

        async def awaited(arguments: Arguments, place: Place) -> Any:
            async with free:
                try:
                    return await self._function(**arguments, **self.settings.arguments)
                except Exception as error:
                    raise self._failure(error, place) from error

        return await asyncio.gather(*map(awaited, calls, places))

    def _failure(self, error: Exception, place: Place) -> RewardFunctionError:
        said = " ".join(str(error).split())
        return RewardFunctionError(f"{self._where} failed on {place()}: {type(error).__name__}: {said}")

    def _results(self, returned: Any) -> Sequence[Any]:
        try:
            return self._adapter.results(returned)
        except (TypeError, ValueError, KeyError) as error:
            raise RewardFunctionError(f"{self._where} returned {_cut(returned)}: {error!r}") from error

    def _score(self, result: Any, place: Place) -> float:
        score = _number(result.get("score") if isinstance(result, Mapping) else result)
        if score is None or not math.isfinite(score):
            raise RewardFunctionError(
                f"{self._where} returned {_cut(result)} for {place()}; expected a finite number, or a dict "
                "with such a 'score'"
            )
        return score

    def _others(self, result: Any, place: Place) -> dict[str, float]:
        """The numbers beside ``score``."""
        items = result.items() if isinstance(result, Mapping) else ()
        numbers = {name: _number(value) for name, value in items if name != "score"}
        found = {name: number for name, number in numbers.items() if number is not None}
        for name, number in found.items():
            if not math.isfinite(number):
                raise RewardFunctionError(
                    f"{self._where} returned {number} as {name!r} for {place()}; expected a finite number, "
                    "or None where there is none"
                )
        return found

    def _samples(
        self, tokens: torch.Tensor, response_mask: torch.Tensor, prompt_ids: torch.Tensor
    ) -> Samples:
        rows = [
            (row[: int(mask.int().argmax())].tolist(), row[mask].tolist())
            for row, mask in zip(tokens, response_mask, strict=True)
        ]
        return Samples(
            prompts=[self._prompts[int(number)] for number in prompt_ids],
            prompt_tokens=[prompt for prompt, _ in rows],
            response_tokens=[response for _, response in rows],
            tokenizer=self._tokenizer,
            columns=self._columns,
        )


def combined(
    model_scores: np.ndarray, function_scores: np.ndarray, settings: RewardFunctionSettings
) -> np.ndarray:
    """Score of a reward model and of a reward function together: model + weight x function."""
    return (model_scores + settings.weight * function_scores).astype(np.float32)


def load_function(settings: RewardFunctionSettings) -> Callable[..., Any]:
    """Run the file and take the function out of it.

    The file's folder comes last on the search path, so that it may import what lies beside it.

    Raises
    ------
    SpecError
        There is no such file or function, or running the file fails.
    """
    problem = missing_function(settings)
    if problem is not None:
        raise SpecError(problem)
    path = Path(settings.path).resolve()
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    name = f"reward_function_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path}: is not a Python file; give it a name that ends in .py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SpecError(f"{path}: cannot be run: {type(error).__name__}: {error}") from error
    function = getattr(module, settings.name, None)
    if not callable(function):
        raise SpecError(f"{path}: {settings.name!r} is {_cut(function)}, not a function")
    return function


def _means(numbers: Sequence[Mapping[str, float]]) -> dict[str, Mean]:
    """Over the samples that have them."""
    found: dict[str, list[float]] = {}
    for of_sample in numbers:
        for name, number in of_sample.items():
            found.setdefault(name, []).append(number)
    return {name: Mean(math.fsum(values), len(values)) for name, values in found.items()}


def _number(value: Any) -> float | None:
    """A number of Python, numpy or torch; None for anything else."""
    if isinstance(value, np.generic | np.ndarray | torch.Tensor) and math.prod(value.shape) == 1:
        value = value.item()
    return float(value) if isinstance(value, bool | int | float) else None


def _places(calls: Sequence[Arguments], samples: Samples) -> list[Place]:
    """Words for what each call is about, made only if they are needed."""
    count = len(samples.prompts)
    if len(calls) == count:
        return [partial(_shown, number, samples) for number in range(count)]
    return [lambda: f"a batch of {count} samples"] * len(calls)


def _shown(number: int, samples: Samples) -> str:
    prompt = samples.prompts[number].messages[-1].content
    (response,) = samples.texts(samples.response_tokens[number : number + 1])
    return f"sample {number} (prompt {_cut(prompt)}, response {_cut(response)})"


def _cut(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
