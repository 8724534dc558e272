"""Seconds of calls that take no devices."""

import math

from planner.domain.dataflow import ModelCall
from planner.domain.scenario import Scenario


def service_seconds(scenario: Scenario, call: ModelCall) -> float:
    """Seconds of one call of a service, which works on ``concurrency`` samples at once."""
    service = scenario.services[call.role]
    samples = scenario.workload.part(call.work).samples
    return math.ceil(samples / service.concurrency) * service.seconds_per_sample
