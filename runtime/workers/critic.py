"""The role that estimates what a response is going to earn."""

from collections.abc import Mapping
from typing import Any

import torch

from runtime.engines.megatron import MegatronEngine
from runtime.workers.call import Answer, Call
from runtime.workers.inference import answer, forward
from runtime.workers.training import MicroBatchSize, MiniBatchLoss, renamed, update


class CriticWorker:
    """A value model.

    Parameters
    ----------
    loss
        Value loss of a micro-batch.
    """

    def __init__(
        self, engine: MegatronEngine, *, loss: MiniBatchLoss, epochs: int, size: MicroBatchSize
    ) -> None:
        self._engine, self._loss = engine, loss
        self._epochs, self._size = epochs, size

    def values(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Values of the states before each token but the first, shape (b, s-1)."""
        outputs = forward(self._engine, fields, self._size)
        return answer("old_values", None if outputs is None else outputs[:, :-1])

    def update(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Learn from the returns."""
        metrics = update(
            self._engine,
            call,
            fields,
            epochs=self._epochs,
            size=self._size,
            loss=self._loss,
        )
        return Answer(metrics=renamed("critic", metrics))

    def save_state(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Write weights and optimizer states to the folder in the options."""
        self._engine.save_state(str(call.options["folder"]))
        return Answer()

    def load_state(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Go on from weights and optimizer states in the folder in the options."""
        self._engine.load_state(str(call.options["folder"]))
        return Answer()
