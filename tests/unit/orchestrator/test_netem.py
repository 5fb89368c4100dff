from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.orchestrator import netem
from testbed.orchestrator.netem import QdiscFeatures, QdiscMismatch
from topologies.link_profile import (
    Change,
    DropList,
    GilbertElliott,
    Jitter,
    LinkProfile,
    QueueLimit,
    RandomLoss,
    Reordering,
    outage,
)

ALL = QdiscFeatures(tbf=True, netem=True, netem_seed=True)
LINK = LinkProfile(rate_bit_s=20_000_000, queue=QueueLimit(packets=34), delay_ns=10_000_000, loss=RandomLoss(0.005))


def lines(profile: LinkProfile, changes: tuple[Change, ...] = (), seed: int | None = None) -> list[str]:
    return [" ".join(argv) for argv in netem.qdisc_commands("e", profile, changes, seed=seed)]


def test_loss_is_decided_before_a_queue_of_exactly_the_limit() -> None:
    assert lines(LINK) == [
        "tc qdisc add dev e root handle 1: netem limit 1000000 delay 10000000ns loss random 0.5%",
        "tc qdisc add dev e parent 1:1 handle 10: tbf rate 20000000bit burst 3028 limit 51476",
        "tc qdisc add dev e parent 10:1 handle 100: pfifo limit 34",
    ]


def test_a_queue_in_bytes_is_the_limit_of_the_bucket_itself() -> None:
    profile = LinkProfile(rate_bit_s=8_000_000, queue=QueueLimit(size_bytes=65536))
    assert lines(profile) == ["tc qdisc add dev e root handle 10: tbf rate 8000000bit burst 3028 limit 65536"]


def test_a_wire_needs_no_qdisc() -> None:
    assert lines(LinkProfile()) == []


def test_every_impairment_has_its_words() -> None:
    profile = LinkProfile(
        delay_ns=50_000_000,
        jitter=Jitter(5_000_000, "normal", 0.25, reorders=True),
        loss=GilbertElliott(0.01, 0.3, 0.9, 0.001),
        reordering=Reordering(0.25, gap=5, correlation=0.5),
        duplication=0.01,
        corruption=0.0001,
    )
    assert lines(profile, seed=42) == [
        "tc qdisc add dev e root handle 1: netem limit 1000000 delay 50000000ns 5000000ns 25% distribution normal"
        " loss gemodel 1% 30% 90% 0.1% duplicate 1% corrupt 0.01% reorder 25% 50% gap 5 seed 42"
    ]


def test_changes_keep_the_qdiscs_and_replace_their_values() -> None:
    changes = (*outage(2_000_000_000, 1_000_000_000), Change(at_ns=5_000_000_000, rate_bit_s=5_000_000))
    profile = LinkProfile(rate_bit_s=20_000_000, queue=QueueLimit(packets=34))
    assert lines(profile, changes)[0] == "tc qdisc add dev e root handle 1: netem limit 1000000"
    timed = [(at, [" ".join(argv) for argv in argvs]) for at, argvs in netem.change_commands("e", profile, changes)]
    down = "tc qdisc change dev e root handle 1: netem limit 1000000 loss 100%"
    up = "tc qdisc change dev e root handle 1: netem limit 1000000"
    slower = "tc qdisc change dev e parent 1:1 handle 10: tbf rate 5000000bit burst 3028 limit 51476"
    assert timed == [(2_000_000_000, [down]), (3_000_000_000, [up]), (5_000_000_000, [up, slower])]


@pytest.mark.parametrize(
    ("profile", "changes", "features", "why"),
    [
        (LinkProfile(loss=DropList((3, 7))), (), ALL, "drop-list"),
        (LinkProfile(delay_ns=10, jitter=Jitter(5)), (), ALL, "keeps their order"),
        (LinkProfile(), (Change(at_ns=1, rate_bit_s=5000),), ALL, "begins later"),
        (LinkProfile(delay_ns=10), (), QdiscFeatures(tbf=True), "no netem"),
        (LinkProfile(rate_bit_s=5000, queue=QueueLimit(packets=5)), (), QdiscFeatures(), "no TBF"),
        (LinkProfile(rate_bit_s=5000), (), ALL, "implicit"),
        (LinkProfile(), (Change(at_ns=1, loss=DropList((1,))),), ALL, "drop-list"),
        (LinkProfile(rate_bit_s=5000, queue=QueueLimit(packets=5)), outage(1, 2), QdiscFeatures(tbf=True), "no netem"),
    ],
)
def test_what_the_qdiscs_would_do_otherwise_is_refused_with_the_reason(
    profile: LinkProfile, changes: tuple[Change, ...], features: QdiscFeatures, why: str
) -> None:
    assert why in (netem.inexpressible(profile, changes, features) or "")


def test_a_full_profile_is_expressible_where_the_kernel_has_netem() -> None:
    assert netem.inexpressible(LINK, outage(1, 2), ALL) is None


def shown(**netem_options: Any) -> str:
    delay = {"delay": 0.01, "jitter": 0, "correlation": 0}
    options = {
        "limit": 1000000,
        "delay": delay,
        "loss-random": {"loss": 0.005, "correlation": 0},
        "ecn": False,
        "gap": 0,
    }
    return json.dumps(
        [
            {"kind": "netem", "handle": "1:", "root": True, "refcnt": 2, "options": options | netem_options},
            {
                "kind": "tbf",
                "handle": "10:",
                "parent": "1:1",
                "options": {"rate": 2500000, "burst": 3028, "lat": 18000},
            },
            {"kind": "pfifo", "handle": "100:", "parent": "10:1", "options": {"limit": 34}},
        ]
    )


def test_reading_back_what_was_asked_for_is_silent() -> None:
    netem.check("e", LINK, (), shown())


@pytest.mark.parametrize(
    ("output", "named"),
    [
        (shown(delay={"delay": 0.00001, "jitter": 0, "correlation": 0}), "delay"),
        (shown(**{"loss-random": {"loss": 0.05, "correlation": 0}}), "loss"),
        (shown(limit=1000), "limit"),
        (shown(duplicate={"duplicate": 0.1, "correlation": 0}), "duplicate"),
        ('[{"kind": "noqueue", "options": {}}]', "netem is missing"),
    ],
)
def test_reading_back_something_else_names_both_values(output: str, named: str) -> None:
    with pytest.raises(QdiscMismatch, match=named):
        netem.check("e", LINK, (), output)


def test_an_impairment_that_was_not_asked_for_is_noticed() -> None:
    with pytest.raises(QdiscMismatch, match="netem is there unasked"):
        netem.check("e", LinkProfile(), (), shown())
