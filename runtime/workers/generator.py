"""The role that generates for the actor, on devices of its own."""

import time
from collections.abc import Mapping
from typing import Any

from runtime.engines.transport import PlacedWeights, SentWeights, difference
from runtime.engines.vllm import GenerationEngine
from runtime.workers.actor import refuse_difference, refuse_stale
from runtime.workers.call import Answer, Call
from runtime.workers.sampling import Sampler


class GeneratorWorker:
    """A generation engine whose weights come from the actor, some updates late.

    Parameters
    ----------
    staleness
        Greatest number of updates that the weights may be behind those that are to be updated.
    """

    def __init__(
        self, engine: GenerationEngine, sampler: Sampler, *, staleness: int, logprob_tolerance: float
    ) -> None:
        self._engine, self._sampler = engine, sampler
        self._staleness, self._logprob_tolerance = staleness, logprob_tolerance
        self._version = 0
        """Updates of the weights that it has."""

    def generate(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Respond to this rank's prompts.

        Raises
        ------
        RuntimeError
            When the weights are further behind than the bound.
        """
        behind = refuse_stale(call.iteration, self._version, bound=self._staleness)
        responses = self._sampler.respond(call, fields, version=self._version)
        return Answer(
            fields=responses.fields,
            lengths=responses.lengths,
            metrics={**responses.metrics, "staleness/weights": float(behind)},
        )

    def save_under_way(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Write the prompts under way to the folder in the options."""
        self._sampler.save(str(call.options["folder"]))
        return Answer()

    def load_under_way(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Go on with the prompts in the folder in the options."""
        self._sampler.load(str(call.options["folder"]))
        return Answer()

    def receive(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Take in the actor's weights, and compare the engines.

        Raises
        ------
        RuntimeError
            When the log-probabilities of vLLM and Megatron differ by more than the settings tolerate.
        """
        start_s = time.time()
        shards: list[SentWeights] = fields["weights"]
        placed = PlacedWeights(shards, self._engine)
        self._engine.load(placed)
        synced_s = time.time()
        found = difference(shards, self._engine)
        refuse_difference(found, self._logprob_tolerance, self._engine.model.name)
        self._version = shards[0].version
        return Answer(
            parts={"load": (start_s, synced_s)},
            metrics={
                "reshard/received_bytes": placed.received_bytes,
                "reshard/logprob_difference_max": found,
            },
        )
