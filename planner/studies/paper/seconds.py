"""Figure 9: seconds of whole iterations on 128 devices."""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.studies.paper.published import ITERATION_SECONDS, TRAINING_PIPELINE, Size
from planner.studies.paper.questions import in_time_model, paper_scenario, with_layouts
from planner.studies.planning import plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Seconds of one iteration of PPO."""

    size: Size
    devices: int
    published: float
    stage_cost: float
    in_layouts: float
    """With actor and critic trained in the layouts of the paper's actors."""
    period: float


def totals() -> Iterator[Total]:
    """Each size that can be read off."""
    for (size, devices), published in ITERATION_SECONDS.items():
        scenario = paper_scenario("ppo", size, devices)
        layouts = with_layouts(scenario, TRAINING_PIPELINE[size])
        yield Total(
            size=size,
            devices=devices,
            published=published,
            stage_cost=plan(scenario).plan.prediction.stage_cost_seconds,
            in_layouts=plan(layouts).plan.prediction.stage_cost_seconds,
            period=plan(in_time_model(scenario, "period")).plan.prediction.iteration_seconds,
        )
