"""Pools on a Ray cluster of two nodes, both on this machine."""

import signal

import pytest
import ray
from ray.cluster_utils import Cluster

from planner.domain.parallelism import ParallelStrategy
from planner.errors import PlanMismatchError
from runtime.requirements import dry_run
from runtime.resource_pool import assign, check_address, nodes_here, processes, ray_cluster, uninterrupted
from runtime.session import join_groups
from tests.runtime.plans import tiny_model, tiny_plan

ALL = ("actor", "critic", "reference", "reward")
DEVICES = {"virtual_device": 2}


@pytest.fixture(scope="module")
def two_nodes():
    node = {"num_cpus": 1, "resources": DEVICES, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    cluster.wait_for_nodes()
    yield cluster.address
    cluster.shutdown()


def test_a_pool_over_two_nodes_has_the_ranks_of_a_node_together(two_nodes):
    plan = tiny_plan({ALL: ParallelStrategy(tensor=2, data=2)}, nodes=2, per_node=2)
    with ray_cluster(two_nodes, kind="cpu", devices=0):
        (assignment,) = assign(plan, nodes_here("cpu"), "cpu")
        assert [share.devices for share in assignment.shares] == [2, 2]
        with processes([assignment], "cpu") as pools:
            places = ray.get([process.whereabouts.remote() for process in pools["pool-0"]])
            assert places == sorted(places)
            nodes = [place.node for place in places]
            assert nodes[0] == nodes[1] != nodes[2] == nodes[3]
            join_groups(pools)


def test_a_dry_run_on_a_cluster_shows_its_nodes_and_starts_nothing(two_nodes, tmp_path):
    plan = tiny_plan(
        {ALL: ParallelStrategy(tensor=2, data=2)}, nodes=2, per_node=2, model=tiny_model(tmp_path)
    )
    answer = dry_run(plan, address=two_nodes)
    assert answer.fits
    assert [count for _, count in answer.pools[0].processes] == [2, 2]
    assert not ray.is_initialized()


def test_a_cluster_with_too_few_devices_says_what_there_is(two_nodes):
    plan = tiny_plan({ALL: ParallelStrategy(tensor=2, data=2)}, nodes=1, per_node=4)
    with (
        ray_cluster(two_nodes, kind="cpu", devices=0),
        pytest.raises(PlanMismatchError, match=r"asks for 4 .* virtual_device free on .*: 2, .*: 2; add"),
    ):
        assign(plan, nodes_here("cpu"), "cpu")


def interrupted(done):
    with uninterrupted():
        signal.raise_signal(signal.SIGINT)
        done.append("the rest of the block")


def test_an_interrupt_waits_until_ray_has_started_or_stopped():
    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(done)
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "host:port", "127.0.0.1:99999"])
def test_an_address_where_nothing_answers_is_refused_at_once(address):
    with pytest.raises(PlanMismatchError, match="--address"):
        check_address(address)
