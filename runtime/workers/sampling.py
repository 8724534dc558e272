"""Responses of a generation engine as rows of a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

from planner.domain.run import RunSettings
from runtime.engines.vllm import GenerationEngine
from runtime.workers.call import Answer, Call
from runtime.workers.responses import response_rows, sample_seed


class Sampler:
    """Responds to prompts with the weights that the engine has.

    Parameters
    ----------
    stop_token
        Ends a response; None lets every response reach the maximum.
    """

    def __init__(
        self,
        engine: GenerationEngine,
        *,
        settings: RunSettings,
        maximum_response_tokens: int,
        stop_token: int | None,
    ) -> None:
        self._engine, self._settings = engine, settings
        self._maximum_response_tokens, self._stop_token = maximum_response_tokens, stop_token

    def respond(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Respond to this rank's prompts; what is sampled depends on seed, iteration and sample alone."""
        prompts: Sequence[Sequence[int]] = fields["prompts"]
        is_greedy = call.options.get("do_sample") is False
        responses = self._engine.generate(
            prompts,
            seeds=[sample_seed(self._settings.seed, call.iteration, row) for row in call.rows[0]],
            temperature=0.0 if is_greedy else self._settings.temperature,
            maximum_response_tokens=self._maximum_response_tokens,
            stop_token=self._stop_token,
            top_p=self._settings.top_p,
            top_k=self._settings.top_k,
        )
        return Answer(
            fields={**response_rows(prompts, responses), "prompt_ids": fields["prompt_ids"].numpy()},
            lengths=tuple(
                len(prompt) + len(response.tokens)
                for prompt, response in zip(prompts, responses, strict=True)
            ),
        )
