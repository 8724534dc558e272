"""Figures of plans in words."""

from planner.domain.plan import Plan, Proof
from planner.domain.scenario import Objective
from planner.units import format_seconds, format_seconds_band

TIME_MODELS = {"period": "the steady-state period", "stage": "the stage cost"}

PHASES = ("generate", "infer", "train", "send", "receive")
_PHASES_BY_METHOD = {"generate": "generate", "update": "train", "send": "send", "receive": "receive"}


def phase_of(call: str) -> str:
    """What a call computes, from its name.

    >>> phase_of("actor.generate"), phase_of("critic.values"), phase_of("actor.update")
    ('generate', 'infer', 'train')
    """
    method = call.partition(".")[2]
    known = (phase for name, phase in _PHASES_BY_METHOD.items() if method.startswith(name))
    return next(known, "infer")


def format_objective(value: float, minimise: Objective) -> str:
    """An objective with its unit.

    >>> format_objective(75.3, "seconds"), format_objective(16, "devices")
    ('75.3 s', '16 devices')
    """
    if minimise == "tokens_per_second":
        return f"{value:,.0f} tokens/s"
    if minimise == "dollars":
        return f"{value:,.4g} $ per million tokens"
    if minimise == "devices":
        return f"{value:g} devices"
    return format_seconds(value)


def format_change(amount: float, minimise: Objective) -> str:
    """A difference of two objectives with its sign and unit.

    >>> format_change(-0.25, "seconds"), format_change(0.0, "seconds")
    ('-250 ms', '0 s')
    """
    if not amount:
        return {"seconds": "0 s", "tokens_per_second": "0 tokens/s"}.get(minimise, "0")
    return f"{'-' if amount < 0 else '+'}{format_objective(abs(amount), minimise)}"


def change_of(loss: float, minimise: Objective) -> float:
    """How an objective itself changes by a loss: tokens per second fall, all else grows.

    >>> change_of(0.25, "tokens_per_second"), change_of(0.25, "seconds")
    (-0.25, 0.25)
    """
    return 0.0 - loss if minimise == "tokens_per_second" else loss


def format_share(share: float) -> str:
    """A change as a share of what it was.

    >>> format_share(-0.0764)
    '-7.6 %'
    """
    return f"{100 * share:+.1f} %"


def gap_of(proof: Proof) -> float:
    """The share of the objective that a better plan could save (of the bound, for tokens per second)."""
    if proof.minimise == "tokens_per_second":
        return max(0.0, 1 - proof.objective / proof.bound) if proof.bound else 0.0
    return max(0.0, 1 - proof.bound / proof.objective) if proof.objective else 0.0


def loss_of(value: float, proof: Proof) -> float:
    """By which share of the plan's objective another plan's is worse."""
    return proof.loss(value) / proof.objective


def proof_words(proof: Proof, solve_seconds: float | None = None) -> str:
    """What was optimised under which time model, and what is proven."""
    solved = f" in {format_seconds(solve_seconds)}" if solve_seconds is not None else ""
    gap = f", gap {100 * gap_of(proof):.2f} %" if proof.status != "optimal" else ""
    objective, bound = (_exactly(value, proof.minimise) for value in (proof.objective, proof.bound))
    return (
        f"{proof.status} by {proof.solver}{solved}: objective {objective}, bound {bound}{gap}; "
        f"{TIME_MODELS[proof.time_model]} decided"
    )


def iteration_words(plan: Plan) -> str:
    """The iteration's seconds in both time models, its throughput and its price."""
    of = plan.prediction
    seconds = format_seconds_band(of.iteration_seconds, of.iteration_low, of.iteration_high)
    stage = format_seconds(of.stage_cost_seconds)
    price = of.dollars_per_million_tokens
    dollars = f", {format_objective(price, 'dollars')}" if price is not None else ""
    return f"iteration {seconds} (period), stage cost {stage}, {of.tokens_per_second:,.0f} tokens/s{dollars}"


def _exactly(value: float, minimise: Objective) -> str:
    return f"{value:.6f} s" if minimise == "seconds" else format_objective(value, minimise)
