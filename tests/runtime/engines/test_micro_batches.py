from hypothesis import given
from hypothesis import strategies as st

from runtime.engines.micro_batches import micro_batches

LENGTHS = st.lists(st.integers(1, 50), max_size=30)


@given(lengths=LENGTHS, rows=st.integers(1, 8), budget=st.none() | st.integers(1, 120))
def test_every_row_is_in_one_micro_batch_that_is_as_long_as_its_longest(lengths, rows, budget):
    parts = list(micro_batches(lengths, rows=rows, token_budget=budget))
    assert sorted(row for part in parts for row in part.rows) == list(range(len(lengths)))
    assert all(part.length == max(lengths[row] for row in part.rows) for part in parts)


@given(lengths=LENGTHS, budget=st.integers(1, 120))
def test_padding_included_a_micro_batch_stays_within_its_budget_or_has_one_row(lengths, budget):
    for part in micro_batches(lengths, rows=1, token_budget=budget):
        assert len(part.rows) == 1 or len(part.rows) * part.length <= budget


@given(lengths=LENGTHS, rows=st.integers(1, 8))
def test_without_a_budget_rows_are_counted(lengths, rows):
    assert all(len(part.rows) <= rows for part in micro_batches(lengths, rows=rows))
    assert len(list(micro_batches(lengths, rows=rows))) == -(-len(lengths) // rows)
