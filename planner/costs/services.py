"""Seconds of calls that take no devices."""

import math

from planner.domain.dataflow import DataflowGraph, ModelCall
from planner.domain.scenario import Scenario


def seconds_of_services(scenario: Scenario, graph: DataflowGraph) -> dict[str, float]:
    """Seconds of each call of a service, by its name."""
    return {call.name: service_seconds(scenario, call) for call in graph.service_calls}


def service_seconds(scenario: Scenario, call: ModelCall) -> float:
    """Seconds of one call of a service, which works on ``concurrency`` samples at once."""
    service = scenario.services[call.role]
    samples = scenario.workload.part(call.work).samples
    return math.ceil(samples / service.concurrency) * service.seconds_per_sample
