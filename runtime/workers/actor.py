"""The role that generates and learns to."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from planner.domain.run import RunSettings
from runtime.engines.hybrid import probe, reshard
from runtime.engines.megatron import MegatronEngine
from runtime.engines.vllm import GenerationEngine
from runtime.workers.call import Answer, Call
from runtime.workers.responses import response_rows, sample_seed
from runtime.workers.training import MiniBatchLoss, renamed, update


class ActorWorker:
    """The policy: weights in training layout, and a generation engine on the same ranks.

    Parameters
    ----------
    loss
        Policy loss of a micro-batch.
    stop_token
        Ends a response; None lets every response reach the maximum.
    """

    def __init__(
        self,
        engine: MegatronEngine,
        generator: GenerationEngine,
        *,
        settings: RunSettings,
        logprob_tolerance: float,
        loss: MiniBatchLoss,
        epochs: int,
        micro_batch: int,
        maximum_response_tokens: int,
        stop_token: int | None,
    ) -> None:
        self._engine, self._generator = engine, generator
        self._settings, self._loss = settings, loss
        self._logprob_tolerance = logprob_tolerance
        self._epochs, self._micro_batch = epochs, micro_batch
        self._maximum_response_tokens, self._stop_token = maximum_response_tokens, stop_token

    def generate(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Sync the weights, compare the engines, and respond to this rank's prompts.

        Raises
        ------
        RuntimeError
            When the log-probabilities of vLLM and Megatron differ by more than the settings tolerate.
        """
        start_s = time.time()
        report = reshard(self._engine, self._generator)
        synced_s = time.time()
        difference = self._compare_engines()
        prompts: Sequence[Sequence[int]] = fields["prompts"]
        seeds = [sample_seed(self._settings.seed, call.iteration, row) for row in call.rows[0]]
        responses = self._generator.generate(
            prompts,
            seeds=seeds,
            temperature=self._settings.temperature,
            maximum_response_tokens=self._maximum_response_tokens,
            stop_token=self._stop_token,
        )
        self._generator.sleep()
        return Answer(
            fields=response_rows(prompts, responses),
            parts={"reshard": (start_s, synced_s)},
            metrics={
                "reshard/received_bytes": report.received_bytes,
                "reshard/logprob_difference_max": difference,
            },
        )

    def update(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Learn from the samples."""
        metrics = update(
            self._engine,
            call,
            fields,
            epochs=self._epochs,
            micro_batch=self._micro_batch,
            loss=self._loss,
        )
        return Answer(metrics=renamed("actor", metrics))

    def save(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Write the weights as a Hugging Face folder at the path in the options."""
        assert self._engine.model.folder is not None, "a run needs weights"
        self._engine.save(call.options["folder"], self._engine.model.folder)
        return Answer()

    def save_state(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Write weights and optimizer states to the folder in the options."""
        self._engine.save_state(call.options["folder"])
        return Answer()

    def load_state(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Go on from weights and optimizer states in the folder in the options."""
        self._engine.load_state(call.options["folder"])
        return Answer()

    def _compare_engines(self) -> float:
        difference = probe(self._engine, self._generator)
        if not difference <= self._logprob_tolerance:
            raise RuntimeError(
                f"after the weight sync vLLM's and Megatron's log-probabilities differ by {difference:.3g}, "
                f"tolerated are {self._logprob_tolerance:.3g} (run.logprob_tolerance): either the "
                f"precision is too low for that, or {self._engine.model.name} is not resharded correctly"
            )
        return difference
