"""The role that learns to generate."""

import time
from collections.abc import Mapping
from typing import Any

import torch

from runtime.engines.hybrid import probe, probe_sequences, reshard
from runtime.engines.megatron import MegatronEngine
from runtime.engines.transport import packed_weights
from runtime.engines.vllm import GenerationEngine
from runtime.workers.call import Answer, Call
from runtime.workers.inference import answer, forward
from runtime.workers.sampling import Sampler
from runtime.workers.training import MicroBatchSize, MiniBatchLoss, renamed, update


class ActorWorker:
    """The policy: weights in training layout, and in a synchronous plan a generation engine beside them.

    Parameters
    ----------
    generator, sampler
        None where another role generates.
    loss
        Policy loss of a micro-batch.
    maximum_tokens
        Greatest length of prompt and response together.
    """

    def __init__(
        self,
        engine: MegatronEngine,
        *,
        generator: GenerationEngine | None,
        sampler: Sampler | None,
        loss: MiniBatchLoss,
        logprob_tolerance: float,
        epochs: int,
        size: MicroBatchSize,
        maximum_tokens: int,
    ) -> None:
        self._engine, self._generator, self._sampler = engine, generator, sampler
        self._loss, self._logprob_tolerance = loss, logprob_tolerance
        self._epochs, self._size, self._maximum_tokens = epochs, size, maximum_tokens
        self._version = 0
        """Updates of the weights so far."""

    def generate(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Sync the weights, compare the engines, and respond to this rank's prompts.

        Raises
        ------
        RuntimeError
            When the log-probabilities of vLLM and Megatron differ by more than the settings tolerate.
        """
        assert self._generator is not None, "another role generates"
        assert self._sampler is not None, "what generates has a sampler"
        refuse_stale(call.iteration, self._version, bound=0)
        start_s = time.time()
        report = reshard(self._engine, self._generator)
        synced_s = time.time()
        difference = probe(self._engine, self._generator)
        refuse_difference(difference, self._logprob_tolerance, self._engine.model.name)
        responses = self._sampler.respond(call, fields, version=self._version)
        self._generator.sleep()
        return Answer(
            fields=responses.fields,
            lengths=responses.lengths,
            parts={"reshard": (start_s, synced_s)},
            metrics={
                **responses.metrics,
                "reshard/received_bytes": report.received_bytes,
                "reshard/logprob_difference_max": difference,
            },
        )

    def proximal_logprobs(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Log-probabilities of the tokens with the weights before the update, shape (b, s-1)."""
        return answer("proximal_logprobs", forward(self._engine, fields, self._size))

    def update(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Learn from the samples."""
        metrics = update(
            self._engine,
            call,
            fields,
            epochs=self._epochs,
            size=self._size,
            loss=self._loss,
        )
        self._version += 1
        return Answer(metrics=renamed("actor", metrics))

    def send(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """This rank's shard of the weights, and what the model makes of some fixed sequences."""
        sequences = probe_sequences(self._engine.model, self._maximum_tokens)
        weights = packed_weights(self._engine, sequences, version=self._version, sends=call.answers)
        return Answer(fields={"weights": [weights]}, metrics={"send/bytes/max": weights.nbytes})

    def save(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Write the weights as a Hugging Face folder at the path in the options."""
        assert self._engine.model.folder is not None, "a run needs weights"
        self._engine.save(str(call.options["folder"]), self._engine.model.folder)
        return Answer()

    def save_state(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Write weights and optimizer states to the folder in the options."""
        self._engine.save_state(str(call.options["folder"]))
        return Answer()

    def load_state(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Go on from weights and optimizer states in the folder in the options, after so many updates."""
        self._engine.load_state(str(call.options["folder"]))
        self._version = int(call.options["iterations"])
        return Answer()

    def save_under_way(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Write the prompts under way to the folder in the options."""
        assert self._sampler is not None, "what generates has a sampler"
        self._sampler.save(str(call.options["folder"]))
        return Answer()

    def load_under_way(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Go on with the prompts in the folder in the options."""
        assert self._sampler is not None, "what generates has a sampler"
        self._sampler.load(str(call.options["folder"]))
        return Answer()


def refuse_stale(iteration: int, version: int, *, bound: int) -> int:
    """How many updates weights are behind those of an iteration; of shown samples, none.

    Raises
    ------
    RuntimeError
        When they are further behind than the bound.
    """
    behind = max(0, iteration - version)
    if behind > bound:
        raise RuntimeError(
            f"iteration {iteration} would be generated with weights of {behind} updates before, at most "
            f"{bound} are permitted (staleness); make the plan again"
        )
    return behind


def refuse_difference(difference: float, tolerance: float, model: str) -> None:
    """End the run where the engines disagree about the same weights.

    Raises
    ------
    RuntimeError
        When their log-probabilities differ by more than the tolerance.
    """
    if not difference <= tolerance:
        raise RuntimeError(
            f"after the weight sync vLLM's and Megatron's log-probabilities differ by {difference:.3g}, "
            f"tolerated are {tolerance:.3g} (run.logprob_tolerance): either the precision is too low for "
            f"that, or {model} is not resharded correctly"
        )
