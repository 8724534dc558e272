"""Calls that options add to an algorithm's own, or take away: for the engines' mismatch and the divergence.

The roles that an algorithm is given hand on all calls, and make these beside them. So one program is traced
and run, with the options as without.
"""

from collections.abc import Callable
from typing import Any

from planner.algorithms.trace import Algorithm, trace
from planner.domain.algorithm import AlgorithmOptions
from planner.domain.dataflow import ACTOR, REFERENCE


def extended(algorithm: Algorithm, options: AlgorithmOptions, *, has_reference: bool) -> Algorithm:
    """The algorithm with what its options add or take; itself where they leave it as it is.

    With ``correction``, the actor computes the log-probabilities of what was generated itself. With a
    divergence from the reference, an algorithm that has no reference gets one; and where the divergence is
    part of the loss, the actor's update reads the reference's log-probabilities. Without a divergence, one
    that has a reference asks it only if there is one, to report how far the policy is from it.
    """
    asks = REFERENCE in trace(algorithm, name=options.name).roles
    adds = options.has_divergence and not asks
    drops = asks and not options.has_divergence and not has_reference
    if options.correction is None and not adds and not drops and not options.kl_loss_coefficient:
        return algorithm
    return lambda roles, prompts: algorithm(_Roles(roles, options, adds, drops), prompts)


class _Roles:
    """Hands out the roles, with an actor that makes more calls, and perhaps without a reference."""

    def __init__(self, roles: Any, options: AlgorithmOptions, adds: bool, drops: bool) -> None:
        self._roles, self._options, self._adds_reference, self._drops_reference = roles, options, adds, drops

    def __getattr__(self, role: str) -> Any:
        if role == ACTOR:
            return _Actor(self._roles, self._options, self._adds_reference)
        if role == REFERENCE and self._drops_reference:
            return _Unasked()
        return getattr(self._roles, role)


class _Unasked:
    """A reference that nobody needs."""

    def logprobs(self, batch: Any) -> Any:
        """The batch as it is."""
        return batch


class _Actor:
    """The actor, whose samples come with what options ask for."""

    def __init__(self, roles: Any, options: AlgorithmOptions, adds_reference: bool) -> None:
        self._roles, self._options, self._adds_reference = roles, options, adds_reference

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return getattr(self._roles.actor, method)  # type: ignore[no-any-return]

    def generate(self, prompts: Any, **options: Any) -> Any:
        """Generate; samples that are learnt from get log-probabilities as well, greedy ones do not."""
        batch = self._roles.actor.generate(prompts, **options)
        if options.get("do_sample") is False:
            return batch
        if self._options.correction is not None:
            batch = batch | self._roles.actor.proximal_logprobs(batch)
        if self._adds_reference:
            batch = batch | self._roles.reference.logprobs(batch)
        return batch

    def update(self, batch: Any, *, loss: str, **options: Any) -> Any:
        """Update, by a loss that has the divergence where the options have it there."""
        if loss == "ppo" and self._options.kl_loss_coefficient:
            loss = "grpo"
        return self._roles.actor.update(batch, loss=loss, **options)
