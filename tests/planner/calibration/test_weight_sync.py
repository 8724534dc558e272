import pytest

from planner.calibration.rows import Row, RowError
from planner.calibration.weight_sync import evaluate, mode_of, placement_of


def row(line=2, **fields):
    content = {
        "source": "someone",
        "model": "Qwen2.5-7B",
        "placement": "1+1 nodes",
        "mode": "nccl full broadcast",
        "sync_s_low": "4",
        "sync_s_high": "9",
        "gpu": "H100",
        "note": "",
    }
    return Row(line=line, fields=content | fields)


def predicted(**fields):
    (judged,) = evaluate([row(**fields)], None, lambda done: None).judged
    return judged.predicted


def test_measured_is_the_geometric_middle():
    (judged,) = evaluate([row()], None, lambda done: None).judged
    assert judged.measured == pytest.approx(6.0)
    assert judged.low < judged.predicted < judged.high


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"model": "abacus"}, "unknown model 'abacus'"),
        ({"gpu": "abacus"}, "unknown device 'abacus'"),
        ({"mode": "pigeon"}, "unknown mode 'pigeon'"),
        ({"placement": "nearby"}, "unknown placement 'nearby'"),
    ],
)
def test_what_is_not_known_is_skipped_with_its_reason(field, reason):
    found = evaluate([row(7, **field)], None, lambda done: None)
    assert not found.judged
    assert [(skipped.line, skipped.reason) for skipped in found.skipped] == [(7, reason)]


def test_a_broken_row_is_named():
    with pytest.raises(RowError, match="line 3: sync_s_low"):
        evaluate([row(2), row(3, sync_s_low="soon")], None, lambda done: None)


def test_placements_are_read():
    nodes, ranks = placement_of("2+1 nodes"), placement_of("4 train + 2 rollout ranks")
    assert (nodes.trainers, nodes.generators, nodes.in_nodes) == (16, 8, True)
    assert (ranks.trainers, ranks.generators, ranks.in_nodes) == (4, 2, False)


def test_modes_are_read():
    assert mode_of("delta_sharded") == "delta"
    assert mode_of("disk") is None


def test_less_moves_faster_and_larger_models_slower():
    assert predicted(mode="delta_sharded") < predicted()
    assert predicted() < predicted(model="Qwen2.5-32B") < predicted(model="Qwen2.5-72B")
    assert predicted() < predicted(note="offload on")
    assert predicted(placement="4 train + 4 rollout ranks") < predicted()
