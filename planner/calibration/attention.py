"""Fit attention to measured rows: prefill and decode of each serving engine and of any, and backward."""

from pathlib import Path

from planner.calibration.attention_fit import fit_decode, fit_prefill
from planner.calibration.attention_rows import Shapes, columns_of, shapes_of
from planner.calibration.attention_training import cores_of, fit_backward, fit_forward
from planner.calibration.rows import read_rows
from planner.domain.catalog import read_device
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import AttentionFit, BackwardFit, EngineAttention

A100, H100, B200 = "a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm-180gb"
ANY = "any"
"""In the place of an engine's name: rows of all engines together."""


def fit(folder: Path) -> dict[str, AttentionFit]:
    """Attention fits of every measured device, by the device's name.

    Of B200 only training's kernels were measured: the rest is taken from H100. Of H100 no backward was: it is
    taken from A100. Of A100 few were: what many heads and wide keys do is taken from B200.
    """
    ampere, hopper = (
        _served(read_device(name), folder, stem) for name, stem in ((A100, "a100_sxm"), (H100, "h100_sxm"))
    )
    forward_rows = cores_of(folder, op="sdp_fwd", gpu="B200")
    forward = fit_forward(read_device(B200), forward_rows, relative=hopper[ANY].prefill)
    backward_rows = cores_of(folder, op="sdp_bwd", gpu="B200")
    newest = fit_backward(read_device(B200), backward_rows, forward=forward)
    older = fit_backward(
        read_device(A100),
        cores_of(folder, op="sdp_bwd", gpu="A100-PCIe"),
        forward=ampere[ANY].prefill,
        held={"keys": newest.keys, "wide": newest.wide},
    )
    return {
        A100: _attention(ampere, older),
        H100: _attention(hopper, older),
        B200: AttentionFit(prefill=forward, backward=newest, decode=hopper[ANY].decode),
    }


def _served(device: DeviceSpec, folder: Path, stem: str) -> dict[str, EngineAttention]:
    """Kernels of each engine that both files have, and of any."""
    prefill = measured(folder / f"attention_prefill_{stem}.csv", length="seq_len")
    decode = measured(folder / f"attention_decode_{stem}.csv", length="kv_len")
    fits = {ANY: EngineAttention(prefill=fit_prefill(device, prefill), decode=fit_decode(device, decode))}
    for name in sorted(set(prefill.engines.tolist()) & set(decode.engines.tolist())):
        fits[name] = EngineAttention(
            prefill=fit_prefill(device, prefill.chosen(prefill.engines == name)),
            decode=fit_decode(device, decode.chosen(decode.engines == name)),
        )
    return fits


def _attention(served: dict[str, EngineAttention], backward: BackwardFit) -> AttentionFit:
    return AttentionFit(
        prefill=served[ANY].prefill,
        backward=backward,
        decode=served[ANY].decode,
        engines={name: kernels for name, kernels in served.items() if name != ANY},
    )


def measured(path: Path, *, length: str) -> Shapes:
    """The rows of a file of attention kernels."""
    return shapes_of(read_rows(path, columns=columns_of(length)), length=length)
