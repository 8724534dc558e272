"""The values that ``--set`` lists, and the grid that they make."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridmap.grids import MOST_POINTS, Axis, Grid, check, parse_axes
from planner.domain.reading import Keys, find_scenario, read_keys
from planner.errors import SpecError

PAPER = read_keys(find_scenario(Path("scenarios/paper/ppo-7b-8.yaml")))


def grid_of(*texts: str) -> Grid:
    return Grid(keys=PAPER, axes=parse_axes(texts))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("workload.prompts=256,512", (256, 512)),
        ("workload.prompts=256", (256,)),
        ("a=[1, 2],[3]", ([1, 2], [3])),
        ("a={mean: 5, maximum: 9},7", ({"mean": 5, "maximum": 9}, 7)),
        ("colocate=[[actor, critic]],[]", ([["actor", "critic"]], [])),
        ("a=100 Gbit/s,200 Gbit/s", ("100 Gbit/s", "200 Gbit/s")),
        ("a='x,y',\"z\"", ("x,y", "z")),
        ("a=true,null,1.5", (True, None, 1.5)),
        ("a=", (None,)),
        ("a=b=c,d", ("b=c", "d")),
    ],
)
def test_values_are_cut_at_commas_outside_of_brackets_and_quotes(
    text: str, values: tuple[object, ...]
) -> None:
    (axis,) = parse_axes([text])
    assert axis.values == values


def test_all_mistakes_of_the_options_are_said_at_once() -> None:
    texts = ["prompts", "a=1,,2", "b=1,1", "c=1", "c=2", "d=[1,2", "e={x: 1,2"]
    with pytest.raises(SpecError) as caught:
        parse_axes(texts)
    message = str(caught.value)
    for words in (
        "'prompts': write KEY=VALUE",
        "nothing between two commas",
        "b=1,1: 1 is there twice",
        "--set c: is given twice",
        "d=[1,2",
        "e={x: 1,2",
    ):
        assert words in message
    assert "Traceback" not in message


def test_too_many_points_are_refused_with_their_number() -> None:
    values = ",".join(map(str, range(1, 401)))
    with pytest.raises(SpecError, match=rf"160,000 points \(400 x 400\), at most {MOST_POINTS:,}"):
        parse_axes([f"a={values}", f"b={values}"])


@given(st.lists(st.integers(1, 4), max_size=4))
def test_points_are_the_product_of_the_axes_in_order(sizes: list[int]) -> None:
    axes = tuple(Axis(key=f"k{at}", values=tuple(range(size))) for at, size in enumerate(sizes))
    grid = Grid(keys=Keys({}, "", Path()), axes=axes)
    expected = list(product(*(axis.values for axis in axes)))
    assert [tuple(grid.settings(number).values()) for number in range(len(grid))] == expected
    star = [grid.settings(number) for number in grid.star]
    assert len(star) == 1 + sum(size - 1 for size in sizes)
    for axis in axes:
        assert {each[axis.key] for each in star} == set(axis.values)


def test_settings_reach_the_scenario_with_wildcards_too() -> None:
    grid = grid_of("cluster.node_pools.*.nodes=1,2", "workload.prompts=64,128")
    found = grid.scenario(3)
    assert (found.cluster.devices, found.workload.prompts) == (16, 128)


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        (["workload.promts=1,2"], ["unknown key; did you mean 'prompts'", "(--set workload.promts=1,2)"]),
        (["workload.prompts=64,abc"], ["valid integer, found 'abc'", "(--set workload.prompts=abc)"]),
        (["workload.prompts=64,-3"], ["found -3", "(--set workload.prompts=-3)"]),
        (
            ["workload.prompts=4,64", "workload.mini_batches=2,8"],
            [
                "mini_batches (8) exceeds the samples (4)",
                "--set workload.prompts=4 --set workload.mini_batches=8",
            ],
        ),
        (["cluster.node_pools.*.nods=1,2"], ["did you mean 'nodes'", "--set cluster.node_pools.*.nods=1,2"]),
        (["cluster.node_pools.x.nodes=1,2"], ["'x' is not an entry"]),
        (["cluster.node_pools.*.device=a100,a1000"], ["no device 'a1000'", "device=a1000)"]),
        (["precision=bf16,fp8"], ["peak names no fp8", "(--set precision=fp8)"]),
        (["algorithm=ppo,grpo"], ["samples_per_prompt", "(--set algorithm=grpo)"]),
        (["workload.prompts.mean=1"], ["no keys inside 1024"]),
        (["minimise=seconds,dollars"], ["price: missing", "(--set minimise=dollars)"]),
    ],
)
def test_a_wrong_point_is_said_with_key_value_and_the_nearest_key(texts: list[str], parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        check(grid_of(*texts))
    for part in parts:
        assert part in str(caught.value)


def test_mistakes_of_all_points_are_said_at_once_and_once_each() -> None:
    with pytest.raises(SpecError) as caught:
        check(grid_of("workload.promts=1,2,3", "cluster.node_pools.*.nods=1,2", "precision=bf16,int8"))
    lines = str(caught.value).splitlines()
    assert len(lines) == len(set(lines)) == 3
    for word in ("promts", "nods", "int8"):
        assert any(word in line for line in lines)


def test_of_very_many_mistakes_the_first_are_said() -> None:
    values = ",".join(f"x{number}" for number in range(100))
    with pytest.raises(SpecError) as caught:
        check(grid_of(f"workload.prompts={values}"))
    assert str(caught.value).splitlines()[-1] == "... and 60 more"


def test_points_whose_pins_contradict_each_other_are_no_mistake_of_the_grid() -> None:
    seen: list[int] = []
    check(grid_of("pin.actor.train.tensor=2,4", "pin.actor.train=p1t2d4"), seen.append)
    assert sum(seen) == 2
