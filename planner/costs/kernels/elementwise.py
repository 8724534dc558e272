"""Seconds of kernels that stream through memory, and the bytes that some of them move.

Such kernels run at the memory's bandwidth once they are large (Williams et al. 2009); small ones cost a
launch. The coefficients come from measured rows (`planner.calibration.elementwise`).
"""

from planner.costs.kernels.gemm import Numbers
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import ElementwiseFit, FlatFit, Stream, StreamFit


def elementwise_seconds(
    device: DeviceSpec, moved_bytes: Numbers, *, kernels: Numbers = 1, kind: Stream = "plain"
) -> Numbers:
    """Seconds of ``kernels`` launches that read and write ``moved_bytes`` of memory in total.

    Parameters
    ----------
    kind
        ``plain`` for fused, vectorised kernels; the others are those of serving engines of 2024.
    """
    fit = stream_fit(device.kernels.elementwise, kind)
    return moved_bytes / (device.memory_bandwidth * fit.share) + fit.launch * kernels


def stream_fit(fit: ElementwiseFit | FlatFit, kind: Stream) -> StreamFit | FlatFit:
    """The coefficients of one kind of kernel; those of plain ones where it was not measured."""
    return fit if isinstance(fit, FlatFit) else fit.kinds.get(kind, fit)


def optimizer_seconds(device: DeviceSpec, moved_bytes: Numbers) -> Numbers:
    """Seconds of Adam as one multi-tensor kernel over all states, reads and writes counted."""
    return elementwise_seconds(device, moved_bytes)


def cross_entropy_bytes(tokens: Numbers, vocab_shard: Numbers, element_bytes: Numbers) -> Numbers:
    """Bytes that forward and backward of the loss move over logits[tokens, vocab_shard].

    Vocabulary-parallel (Megatron-LM 1909.08053, section 3): forward casts the logits to 32 bits, finds the
    maximum, subtracts it, exponentiates into place and sums; backward scales the softmax and casts it back.
    """
    logits = tokens * vocab_shard
    return logits * (2 * element_bytes + 7 * 4)


def embedding_bytes(tokens: Numbers, hidden: Numbers, element_bytes: Numbers) -> Numbers:
    """Bytes that a lookup moves: a row of the table read and written per token, and its index."""
    return tokens * (2 * hidden * element_bytes + 8)
