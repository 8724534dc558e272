"""What is sent to whom: which samples and documents form a mini-batch is the same in every layout."""

from hypothesis import given
from hypothesis import strategies as st

from planner.domain.lengths import TokenLengths
from planner.domain.parallelism import ParallelStrategy
from planner.domain.workload import Workload
from runtime.batch import Batch, Samples
from runtime.sharing import Entry, share_out
from runtime.transfer import Ranks


def mini_batches_of(documents, *, mini_batches, replicas):
    """The documents of each mini-batch of an update, over all replicas."""
    samples = Samples(range(mini_batches))
    entry = Entry(
        name="actor.update",
        method="update",
        kind="train",
        batch=Batch(samples, {}),
        inputs=(),
        samples=samples,
        sequences=documents,
    )
    lengths = TokenLengths(mean=4, maximum=8)
    workload = Workload(
        prompts=mini_batches, prompt_tokens=lengths, response_tokens=lengths, mini_batches=mini_batches
    )
    shares = share_out(entry, Ranks(layout=ParallelStrategy(data=replicas)), workload)
    of_replicas = zip(*shares.pretraining, strict=True)
    return [sorted(number for piece in pieces for number in piece) for pieces in of_replicas]


def test_documents_are_cut_into_mini_batches_before_they_are_shared_out():
    for replicas in (1, 2, 3):
        assert mini_batches_of(6, mini_batches=2, replicas=replicas) == [[0, 1, 2], [3, 4, 5]]
        nine = mini_batches_of(9, mini_batches=8, replicas=replicas)
        assert nine == [[0, 1], *([number] for number in range(2, 9))]


@given(st.integers(0, 20), st.integers(1, 6), st.integers(2, 4))
def test_which_documents_form_a_mini_batch_does_not_depend_on_the_replicas(documents, mini_batches, replicas):
    one = mini_batches_of(documents, mini_batches=mini_batches, replicas=1)
    assert mini_batches_of(documents, mini_batches=mini_batches, replicas=replicas) == one
    assert sorted(number for piece in one for number in piece) == list(range(documents))
