"""Devices, links and the node pools they form."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from planner.domain.fits import AttentionFit, CollectiveFit, ElementwiseFit, FlatFit, GemmFit
from planner.domain.model import Precision
from planner.domain.quantities import Bytes, BytesPerSecond, FlopsPerSecond, PositiveInt, Seconds, Value

Bandwidth = Annotated[BytesPerSecond, Field(ge=1, le=1e18)]
Latency = Annotated[Seconds, Field(le=3600)]
Memory = Annotated[Bytes, Field(le=2**60)]
ComputeRate = Annotated[FlopsPerSecond, Field(ge=1, le=1e24)]
"""Far beyond any hardware on both sides, and near enough for what is computed with them."""


class LinkSpec(Value):
    """A link, per direction."""

    bandwidth: Bandwidth
    latency: Latency


class KernelFits(Value):
    """How near a device's kernels come to its data sheet."""

    gemm: GemmFit | FlatFit = Field(default=FlatFit(share=0.6), discriminator="kind")
    attention: AttentionFit | FlatFit = Field(default=FlatFit(share=0.5), discriminator="kind")
    elementwise: ElementwiseFit | FlatFit = Field(default=FlatFit(share=0.8), discriminator="kind")
    collective: CollectiveFit | FlatFit = Field(default=FlatFit(share=0.75), discriminator="kind")
    relative: str | None = None
    """The measured device that these were taken from; none for a device's own measurements."""


class DeviceSpec(Value):
    """One accelerator, as its data sheet and measurements of its kernels describe it."""

    name: str
    aliases: tuple[str, ...] = ()
    kind: Literal["cuda", "cpu"] = "cuda"
    memory: Memory
    reserved: Memory
    """Driver, context and allocator slack: not usable by a plan."""
    peak: dict[Precision, ComputeRate]
    memory_bandwidth: Bandwidth
    architecture: str = "unknown"
    """The vendor's generation: ampere, hopper, ada, blackwell."""
    multiprocessors: PositiveInt = 1
    l2: Memory = 0
    """Cache that all multiprocessors share."""
    link: LinkSpec
    """To the other devices of the node, per device and direction."""
    host_link: LinkSpec = LinkSpec(bandwidth="25 GB/s", latency="10 us")
    """To host memory, per device and direction."""
    kernels: KernelFits = Field(default_factory=KernelFits)
    sources: tuple[str, ...] = ()

    @property
    def usable_memory(self) -> int:
        """Bytes that a plan may fill."""
        return self.memory - self.reserved

    @model_validator(mode="after")
    def _check_memory(self) -> "DeviceSpec":
        if self.reserved >= self.memory:
            raise ValueError("reserved must be smaller than memory")
        return self


MOST_NODES = 2048
"""Of a node pool: as many as the search is made for."""
LEAST_PRICE, GREATEST_PRICE = 1e-3, 1e6
"""Dollars per device-hour; the search counts micro-dollars, and in whole numbers."""


class NodePool(Value):
    """Equal nodes of equal devices."""

    name: str
    nodes: int = Field(ge=1, le=MOST_NODES, strict=True)
    devices_per_node: int = Field(ge=1, le=256, strict=True)
    device: DeviceSpec
    network: LinkSpec
    """Between nodes, per node and direction; its devices share it."""
    rails: int = Field(default=1, ge=1, le=256, strict=True)
    """Network ports of a node, an equal part of its bandwidth each; one device sends through one of them."""
    host_memory: Memory | None = None
    """Of one node, for what roles offload; none where nobody says, so that no plan is refused for it."""
    price: float | None = None
    """Dollars per device-hour."""
    oversubscription: float = Field(default=1.0, ge=1, le=1e6)
    """Bandwidth of all nodes into the network over what it carries between them."""

    @field_validator("price")
    @classmethod
    def _check_price(cls, price: float | None) -> float | None:
        if price is not None and not LEAST_PRICE <= price <= GREATEST_PRICE:
            raise ValueError(
                f"a price is dollars per device-hour from {LEAST_PRICE:g} to {GREATEST_PRICE:,.0f}, such as "
                "2.50"
            )
        return price

    @property
    def devices(self) -> int:
        return self.nodes * self.devices_per_node

    @property
    def host_memory_per_device(self) -> int | None:
        """Bytes of host memory that one device's ranks may fill."""
        return None if self.host_memory is None else self.host_memory // self.devices_per_node


class Cluster(Value):
    """One or more node pools."""

    name: str = "cluster"
    node_pools: tuple[NodePool, ...] = Field(min_length=1)
    between: LinkSpec | None = None
    """Between any two node pools, per direction and all their traffic together; by default as the slowest of
    their networks."""

    @model_validator(mode="after")
    def _check_names(self) -> "Cluster":
        names = [pool.name for pool in self.node_pools]
        if len(set(names)) < len(names):
            raise ValueError(f"node pools must have different names, not {', '.join(names)}")
        return self

    @property
    def devices(self) -> int:
        return sum(pool.devices for pool in self.node_pools)

    @property
    def crossing(self) -> LinkSpec:
        """What data and weights cross from one node pool to another."""
        networks = [pool.network for pool in self.node_pools]
        return self.between or LinkSpec.model_construct(
            bandwidth=min(network.bandwidth for network in networks),
            latency=max(network.latency for network in networks),
        )

    def node_pool(self, name: str) -> NodePool:
        """The node pool of that name."""
        return next(pool for pool in self.node_pools if pool.name == name)
