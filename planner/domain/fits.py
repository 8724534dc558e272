"""Fitted coefficients of kernels and collectives, as `python -m planner.calibration` writes them.

Every coefficient is a share of the data sheet's rates, a count or a time, so that a device without
measurements can take those of its architecture's measured relative.
"""

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from planner.domain.quantities import Bytes, FlopsPerSecond, Seconds, Value

NumberList = Annotated[
    tuple[float, ...],
    BeforeValidator(lambda value: tuple(map(float, value.split())) if isinstance(value, str) else value),
    PlainSerializer(lambda value: " ".join(f"{number:g}" for number in value)),
]
"""Written as one text, since a file of one number per line can't be read by people."""
Tile = Annotated[str, Field(pattern=r"^[1-9][0-9]*x[1-9][0-9]*$")]
"""Rows and columns of y that one thread block computes, such as ``256x128``."""


Stream = Literal["plain", "norm", "activation", "rotary", "embedding"]
"""Kernels that stream through memory."""


class Residuals(Value):
    """What is left unexplained: statistics of log(measured / predicted) on rows that the fit had not seen."""

    rows: int = Field(ge=0)
    mape: float = Field(ge=0)
    """Mean of |predicted / measured - 1|."""
    p90: float = Field(ge=0)
    """90th percentile of the same."""
    low: float
    """5th percentile of log(measured / predicted)."""
    high: float
    """95th percentile of the same."""
    shared: float = Field(default=0.0, ge=0)
    """Standard deviation of the part that rows of one group (same model and stack) have in common."""
    own: float = Field(default=0.0, ge=0)
    """Standard deviation of the rest."""
    coverage: float | None = Field(default=None, ge=0, le=1)
    """Share of the rows inside the 90 % band that the rows of other groups span."""


class FitRecord(Value):
    """Where coefficients come from, and how well they hold."""

    source: str
    date: str
    rows: int = Field(ge=0)
    covers: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Least and greatest of what the rows had: ``devices``, ``tokens`` of a sequence, ``parameters``."""
    held_out: Residuals
    parts: dict[str, Residuals] = Field(default_factory=dict)
    """The same of parts of these rows, such as ``n, k >= 512``."""


class FlatFit(Value):
    """One stated share of the data sheet's rate, for a device that nothing is known of."""

    kind: Literal["flat"] = "flat"
    share: float = Field(gt=0, le=1)
    launch: Seconds = 0.0
    """Per kernel."""


class GridFit(Value):
    """A correction by shape: logarithms of measured over modelled seconds, linear between grid points."""

    axes: tuple[NumberList, ...]
    """Base-2 logarithms of the grid points of each axis, ascending."""
    values: NumberList
    """Of all grid points, the last axis fastest."""

    @model_validator(mode="after")
    def _check_size(self) -> "GridFit":
        points = math.prod(len(axis) for axis in self.axes)
        if len(self.values) != points:
            raise ValueError(f"values: {points} grid points, {len(self.values)} values")
        return self


class QuantizeFit(Value):
    """Narrowing activations to 8 bits, each token by a scale of its own."""

    share: float = Field(gt=0, le=1)
    """Of the memory bandwidth on long rows."""
    row: Seconds
    """A row takes at least this long, all multiprocessors together."""
    launch: Seconds


class TileFit(Value):
    """Matrix multiplication in one width of operands: tiles, waves, split-K and memory."""

    architecture: str
    """Of the device that was measured."""
    multiprocessor: FlopsPerSecond
    """Peak of one multiprocessor of that device."""
    tiles: dict[Tile, float] = Field(min_length=1)
    """Share of a multiprocessor's peak inside the k-loop, by tile (``256x128``; turned, too)."""
    loads: float = Field(ge=0)
    """Area of a tile whose multiplication takes as long as its operands take to arrive."""
    exposed: float = Field(ge=0, le=1)
    """Share of the shorter one, of multiplying and arriving, that the longer one does not hide."""
    prologue: float = Field(ge=0)
    """Steps of k that a thread block spends before and after its loop."""
    residency: float = Field(gt=0)
    """Thread blocks of 128x128 tiles that a multiprocessor holds at once."""
    overlap: float = Field(ge=0, le=1)
    """Of a partial last wave with the others: 0 is full quantisation, 1 is none."""
    wave: Seconds
    """Per wave of thread blocks."""
    heat: Seconds
    """Time at the peak after which half of ``slowdown`` is reached."""
    slowdown: float = Field(ge=0)
    """How much longer computing takes in the end, when power limits the clock."""
    memory: float = Field(gt=0, le=1)
    """Share of the memory bandwidth on long reads."""
    latency: Seconds
    """Until the memory delivers at that rate."""
    reduce: float = Field(gt=0)
    """Speed of adding up the parts of a split k, as a multiple of the memory bandwidth."""
    norm: float = Field(ge=1)
    """Exponent that joins computing and moving; infinite is their maximum."""
    launch: Seconds
    split_launch: Seconds
    """Of the kernel that adds up."""
    quantize: QuantizeFit | None = None
    """The kernel that narrows the activations before."""
    by_shape: GridFit | None = None
    """Over m, n and k."""
    by_waves: GridFit | None = None
    """Over waves of 128x128 tiles, and k."""
    engines: dict[str, float] = Field(default_factory=dict)
    """Seconds under a serving engine over these."""
    record: FitRecord


class GemmFit(TileFit):
    """Matrix multiplication."""

    kind: Literal["tiles"] = "tiles"
    weight_gradient: float = Field(default=1.0, gt=0)
    """Seconds of a product that adds to a gradient in 32 bits over those of a forward one."""
    narrow: TileFit | None = None
    """With operands of 8 bits."""


class PrefillFit(Value):
    """Flash attention over many query tokens per sequence."""

    share: float = Field(gt=0, le=1)
    """Of the peak, that matrix products reach on long sequences."""
    score: Seconds
    """Exponential and mask of one score on one multiprocessor, as far as products don't hide it."""
    keys: float = Field(ge=0)
    """What a query costs outside the scores that it needs (masked halves of blocks), as so many keys."""
    block: Seconds
    """Starting and ending one block of queries on a multiprocessor."""
    packed: bool = False
    """Queries of heads that share their keys fill blocks together."""
    tail: float = Field(ge=0)
    """Of the longest block's time: what runs on when the other multiprocessors are done."""
    overlap: float = Field(ge=1)
    """How blocks and the longest block add up: their p-norm; 1 is their sum."""
    heat: Seconds
    """Time of computing after which half of ``slowdown`` is reached."""
    slowdown: float = Field(ge=0)
    """How much longer computing takes in the end, when power limits the clock."""
    rows: float = Field(gt=0)
    """Speed of reading queries and writing outputs, as a multiple of the memory bandwidth."""
    cache: float = Field(gt=0, le=1)
    """Share of the memory bandwidth in reading keys and values and writing them into the cache."""
    append: Seconds
    """One token's write into the cache by a full block of threads."""
    launch: Seconds
    record: FitRecord


class BackwardFit(Value):
    """Backward of flash attention."""

    share: float = Field(gt=0, le=1)
    """Of the peak, on long sequences and with keys no wider than 128."""
    keys: float = Field(ge=0)
    """What a query costs outside the scores that it needs, as so many keys."""
    tail: float = Field(ge=0)
    """Of the longest block's time: what runs on when the other multiprocessors are done."""
    wide: float = Field(ge=0)
    """Exponent by which wider keys lose speed."""
    record: FitRecord


class DecodeFit(Value):
    """One query token per sequence against its cache.

    A unit is one key-value head of one sequence; its context is split among blocks while some are idle.
    """

    share: float = Field(gt=0, le=1)
    """Of the memory bandwidth."""
    waste: float = Field(ge=0, le=1)
    """How much of the idle part of the last wave of blocks is lost: 1 is all."""
    rows: float = Field(gt=0)
    """Speed of reading queries and writing outputs, as a multiple of the memory bandwidth."""
    cache: float = Field(ge=1)
    """Speed of reading from the cache that multiprocessors share, as a multiple of the same."""
    cache_reach: float = Field(gt=0)
    """Share of that cache at which half of the keys and values are found in it."""
    cache_power: float = Field(gt=0)
    """How suddenly fewer are found as more are read."""
    compute: float = Field(gt=0)
    """Share of the peak, groups of query heads padded to a tile."""
    unit: Seconds
    """Starting and ending one wave of units."""
    long_unit: Seconds
    """Further time for a wave of units whose contexts are long."""
    chain: Seconds
    """One block's time for one cached token of 128 wide keys and values."""
    token: Seconds
    """Per token of context, however many blocks there are."""
    split: Seconds
    """A context that can be split: finding and joining its parts."""
    doubling: Seconds
    """The same per doubling of the context."""
    regroup: Seconds
    """Bringing the query heads of groups together where sequences and key-value heads are several."""
    overlap: float = Field(ge=1)
    """How units, memory, chains and computing add up: their p-norm."""
    launch: Seconds
    blocks: int = Field(ge=1)
    """On a multiprocessor at once."""
    whole: bool
    """Contexts are split into whole parts that the idle blocks are enough for."""
    lone: bool
    """Contexts are split where each query head has its own keys, too."""
    parts: int | None = Field(default=None, ge=1)
    """Most parts of all contexts together, for each key-value head; two of each context at least."""
    record: FitRecord


class EngineAttention(Value):
    """The kernels that one serving engine uses."""

    prefill: PrefillFit
    decode: DecodeFit


class AttentionFit(Value):
    """Prefill, backward and decode attention."""

    kind: Literal["flash"] = "flash"
    prefill: PrefillFit
    """Of whatever engine."""
    backward: BackwardFit
    decode: DecodeFit
    engines: dict[str, EngineAttention] = Field(default_factory=dict)
    """Of engines measured on their own, by name and version, such as ``vllm-0.14.0``."""

    def of(self, engine: str | None) -> EngineAttention:
        """The kernels of an engine, else of its nearest measured version, else those of whatever engine.

        The nearest is the last one before, the first one after if there is none, the last for no version.
        """
        name, _, version = (engine or "").partition("-")
        family = sorted((each for each in self.engines if each.partition("-")[0] == name), key=_version)
        if not family:
            return EngineAttention.model_construct(prefill=self.prefill, decode=self.decode)
        before = [each for each in family if not version or _version(each) <= _version(f"{name}-{version}")]
        return self.engines[(before or family[:1])[-1]]


def _version(engine: str) -> tuple[int, ...]:
    return tuple(int(part) for part in engine.partition("-")[2].split(".") if part.isdigit())


class StreamFit(Value):
    """One kind of kernel that streams through memory."""

    share: float = Field(gt=0, le=1)
    """Of the memory's bandwidth."""
    launch: Seconds
    """Per kernel."""


class ElementwiseFit(StreamFit):
    """Memory-bound kernels: norms, activations, rotary embedding, residuals, cross-entropy, optimizer."""

    kind: Literal["streams"] = "streams"
    kinds: dict[Stream, StreamFit] = Field(default_factory=dict)
    """Of kernels that differ from plain ones, as serving engines of 2024 had them."""
    record: FitRecord


class LineFit(Value):
    """Latency and bandwidth of one way to do a collective."""

    base: float = Field(ge=0)
    """Fixed part, in latencies of the link."""
    step: float = Field(ge=0)
    """Per step from rank to rank, in latencies of the link."""
    share: float = Field(gt=0, le=1)
    """Of the link's bandwidth."""


class EngineReduceFit(Value):
    """The all-reduce kernels that a serving engine has of its own, inside a node."""

    one_shot: LineFit
    """Every rank reads every other's whole buffer."""
    two_shot: LineFit
    """Every rank reduces its part of the buffer and reads the others' results."""
    limit: Bytes
    """Messages from this size on go to NCCL."""
    switch_limit: Bytes
    """The same for four ranks or more behind a switch that reduces."""


class CollectiveFit(Value):
    """NCCL's protocols inside a node and across nodes, and the serving engines' own kernels."""

    kind: Literal["protocols"] = "protocols"
    ring: tuple[LineFit, LineFit, LineFit]
    """Protocols LL, LL128 and Simple, in the order in which growing messages take them."""
    early_copy: float = Field(gt=0)
    """Speed at which a rank copies its own part under LL and LL128, as a multiple of the link's bandwidth."""
    gather_copy: float = Field(gt=0)
    """The same under Simple in an all-gather, in a reduce-scatter and in an all-reduce."""
    scatter_copy: float = Field(gt=0)
    reduce_copy: float = Field(gt=0)
    table: float | None = Field(default=None, gt=0)
    """Share of the link in the table by which NCCL chooses protocols; none where the fastest is taken."""
    switch: LineFit | None = None
    """All-reduce inside the switch (NVLS)."""
    exchange: tuple[LineFit, ...] = Field(min_length=1)
    """Sends between pairs at once, the fastest of which is taken."""
    exchange_copy: float = Field(gt=0)
    """Speed at which a rank copies its own part of an all-to-all, as a multiple of the link's bandwidth."""
    send: LineFit | None = None
    """One message between two ranks; none where exchanges say it."""
    contention: float = Field(default=0.0, ge=0)
    """Exponent by which groups of more than two lose bandwidth on a bus that they share."""
    network: float = Field(default=0.9, gt=0, le=1)
    """Share of the network's bandwidth that rings across nodes reach."""
    engines: dict[str, EngineReduceFit] = Field(default_factory=dict)
    """By serving engine."""
    host_launch: Seconds = 0.0
    """A serving engine's own time per collective where no graph replays it."""
    record: FitRecord
    """Parts: messages of 4 MiB and more, where bandwidth decides, and those below."""
