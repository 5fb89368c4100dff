"""V8: the aggregation benefit over a space-filling design of networks (CoNEXT 2013, CoNEXT 2017).

Each point is a network of two paths whose rates, round trips and queues were drawn by the WSP algorithm from the ranges
of the papers (``topologies/random_paths.py``); TCP runs over each path alone, MPTCP over both, begun on either. The
papers had 253 points of each class, this is a design of fewer points over the same region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Flow, PathManager, Variant
from topologies.random_paths import random_paths

SIZE_BYTES = 20_000_000
WINDOW_BYTES = 16_000_000
"""Both of the papers."""
DESIGNS: dict[str, int] = {"some": 12, "few": 4, "all": 253}
CLASSES = ("low-bdp-no-loss", "high-bdp-no-loss")
TCP = ("tcp1", "tcp2")
MPTCP = ("from1", "from2")
SHARES: Mapping[str, tuple[float, float, str]] = {
    "low-bdp-no-loss": (0.6, 1.0, "45 % in the paper"),
    "high-bdp-no-loss": (0.2, 0.6, "20 % in the paper"),
}
"""Class -> bounds of the share of transfers with a positive benefit, and the published one: apart from each other, so
that the order is the papers'. Ours are higher: the papers' MPTCP of 2013 and 2017 was younger, and its TCP CUBIC."""
BECAUSE: Mapping[str, str] = {
    "low-bdp-no-loss": "the second path adds where it is not negligible, and costs little where it is",
    "high-bdp-no-loss": "20 MB end before coupled windows of large products have grown, which TCP's CUBIC alone does",
}


def v8_experimental_design(points: Literal["some", "few", "all"] = "some") -> Experiment:
    """Points of both classes without losses, four transfers each."""
    count = DESIGNS[points]
    return Experiment(
        name="v8-experimental-design",
        question="Over which networks of a space-filling design do two paths bring more than the better one?",
        variants=tuple(variant for name in CLASSES for index in range(count) for variant in _point(name, index, count)),
        repetitions=1,
        duration_ns=3000 * SECOND,
        sample_interval_ns=SECOND,
        claims=(CLAIMS["V8"],),
        expectations=tuple(_expectations(count)),
    )


def _point(class_name: str, index: int, count: int) -> Iterator[Variant]:
    topology = random_paths(index, count, class_name=class_name)
    point = _name(class_name, index)
    for word, path, multipath in (
        ("tcp1", "path1", False),
        ("tcp2", "path2", False),
        ("from1", "path1", True),
        ("from2", "path2", True),
    ):
        side = Endpoint(
            implementation="userspace" if multipath else "userspace-tcp",
            congestion_control="olia" if multipath else "cubic",
            send_buffer_bytes=WINDOW_BYTES,
            receive_buffer_bytes=WINDOW_BYTES,
        )
        yield Variant(
            name=f"{point}-{word}",
            summary=f"Point {index} of {class_name}: {'MPTCP begun on' if multipath else 'TCP over'} {path}.",
            topology=topology,
            flows=(
                Flow(
                    application=Bulk(direction="download", size_bytes=SIZE_BYTES), client=side, server=side, path=path
                ),
            ),
            path_manager=PathManager(mode="subflow" if multipath else "none"),
            only_on="sim",
            factors=(("point", point), ("transfer", word)),
        )


def _expectations(count: int) -> Iterator[Expectation]:
    for class_name, (low, high, published) in SHARES.items():
        first, *further = (
            (f"{_name(class_name, index)}-{begun}", tuple(f"{_name(class_name, index)}-{path}" for path in TCP))
            for index in range(count)
            for begun in MPTCP
        )
        yield Expectation(
            variant=first[0],
            metric="goodput_bit_s",
            relative_to=first[1],
            among=tuple(further),
            at_least=low,
            at_most=high,
            because=BECAUSE[class_name],
            claim="V8",
            says=f"in {class_name} {{value:%}} of {{n}} transfers are faster than TCP on the better path; {published}",
        )


def _name(class_name: str, index: int) -> str:
    return f"{class_name.removesuffix('-no-loss')}-{index:03}"
