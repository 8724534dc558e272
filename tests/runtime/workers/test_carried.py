from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from runtime.engines.requests import Request, Response
from runtime.workers.carried import UnderWay, is_enough, taken


def under_way(number, started, *, left):
    return UnderWay(
        prompt_id=number,
        prompt=(1, 2),
        started=started,
        version=started,
        requests=(Request(prompt=(1, 2), seed=number, so_far=_response(left)),),
    )


def _response(left):
    return Response(tokens=[3], logprobs=[-0.5], is_finished=left <= 0)


def play(lengths, *, prompts, extra, limit):
    """Iterations in which a prompt takes so many steps; the prompts that each takes, with its number."""
    steps, current, taken_in = {}, [], []
    for iteration in range(len(lengths) // prompts):
        count = prompts + (extra if iteration == 0 else 0)
        for _ in range(count):
            number = len(steps)
            steps[number] = lengths[number % len(lengths)]
            current.append(under_way(number, iteration, left=steps[number]))
        while not is_enough(
            current, [one.is_finished for one in current], wanted=prompts, due=iteration - limit
        ):
            for number in [one.prompt_id for one in current]:
                steps[number] -= 1
            current = [
                replace(
                    one, requests=(Request(prompt=(1, 2), seed=0, so_far=_response(steps[one.prompt_id])),)
                )
                for one in current
            ]
        now, current = taken(current, wanted=prompts)
        taken_in.append((iteration, now))
    return taken_in, current


@given(
    lengths=st.lists(st.integers(1, 12), min_size=4, max_size=40),
    prompts=st.integers(1, 4),
    share=st.floats(0, 1),
    limit=st.integers(1, 3),
)
def test_no_prompt_is_lost_none_is_used_twice_and_none_is_older_than_the_limit(
    lengths, prompts, share, limit
):
    extra = int(prompts * share)
    taken_in, left = play(lengths, prompts=prompts, extra=extra, limit=limit)
    numbers = [one.prompt_id for _, now in taken_in for one in now]
    assert len(numbers) == len(set(numbers))
    assert sorted([*numbers, *(one.prompt_id for one in left)]) == list(range(len(numbers) + len(left)))
    for iteration, now in taken_in:
        assert len(now) == prompts
        assert all(one.is_finished and iteration - one.started <= limit for one in now)
    assert len(left) == (extra if taken_in else 0)


def test_the_prompts_begun_first_are_taken_first():
    prompts = [
        under_way(0, 2, left=0),
        under_way(1, 1, left=0),
        under_way(2, 0, left=3),
        under_way(3, 1, left=0),
    ]
    now, later = taken(prompts, wanted=2)
    assert [one.prompt_id for one in now] == [1, 3]
    assert [one.prompt_id for one in later] == [0, 2]


def test_what_is_under_way_survives_a_checkpoint():
    one = under_way(7, 3, left=2)
    assert UnderWay.from_dict(one.as_dict()) == replace(
        one, requests=tuple(replace(request, prompt=(1, 2)) for request in one.requests)
    )
    fresh = replace(one, requests=(Request(prompt=(1, 2), seed=1),))
    assert UnderWay.from_dict(fresh.as_dict()) == fresh
