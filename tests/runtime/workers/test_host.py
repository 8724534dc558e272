"""What a process holds between the roles of one plan and those of the next."""

import weakref

import pytest

from runtime.engines.optimizer import OptimizerSettings
from runtime.workers.host import Host
from tests.runtime import tiny
from tests.runtime.engines.parity import engine_of, own_batches, weighted_sum
from tests.runtime.worlds import run_world


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("llama") / "model", "llama")


def trained(model, references):
    """A role that has trained; its weights, gradients and states are noted."""
    engine = engine_of(model, "p1t1d1", optimizer=OptimizerSettings(learning_rate=1e-2))
    engine.update(own_batches(engine), weighted_sum)
    parts = (engine._weights(), engine._gradients(), engine._own_states())
    references += [weakref.ref(tensor) for part in parts for tensor in part]
    return engine


def alive(references):
    return sum(reference() is not None for reference in references)


def build_twice(model, kept):
    """Which roles there are in the end, and how much of a replaced one is left while they are made."""
    host, references, left = Host(0), [], []
    host.build(lambda: {"actor": trained(model, references), "reference": object()})

    before = alive(references)

    def again():
        left.append(alive(references))
        return {"critic": object()}

    host.build(again, kept=kept)
    return before, left, set(host._roles)


def test_a_role_is_gone_before_those_in_its_place_are_made(llama):
    ((before, left, roles),) = run_world(build_twice, 1, llama, ("reference",))
    assert before > 10
    assert left == [0]
    assert roles == {"reference", "critic"}
