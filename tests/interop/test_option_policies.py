"""What the Linux kernel makes of each option policy: two lossy paths, both directions at once."""

from __future__ import annotations

import dataclasses

import pytest
from userspace_lab import LINUX, PATH, USERSPACE, Report, Scenario, carry_out

from testbed.orchestrator.spec import PathManager
from topologies.link_profile import RandomLoss

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

LOSSY = dataclasses.replace(PATH, loss=RandomLoss(0.01))


def carry(profile: str, role: str, *, paths: int = 2, receiver: str | None = None) -> Report:
    ours = dataclasses.replace(USERSPACE, profile=profile, receiver=receiver)
    client, server = (ours, LINUX) if role == "client" else (LINUX, ours)
    mode = "signal" if paths > 1 else "none"
    return carry_out(
        Scenario(
            client=client,
            server=server,
            paths=(LOSSY, LOSSY),
            path_manager=PathManager(mode=mode),  # type: ignore[arg-type]
            seed=3,
        )
    )


@pytest.mark.parametrize(
    ("profile", "role"),
    [
        ("thin-maps", "client"),
        ("thin-maps", "server"),
        ("dense-32", "client"),
        ("ios", "server"),
        ("split-segment", "client"),
        ("drop-timestamps", "server"),
    ],
)
def test_linux_takes_every_mapping_that_comes_with_or_before_its_data(profile: str, role: str) -> None:
    report = carry(profile, role)

    assert report.problems() == []
    assert not report.client.fallback and not report.server.fallback
    assert report.client.subflows_seen == report.server.subflows_seen == 2
    kernel = "server" if role == "client" else "client"
    for name in ("DssFallback", "DSSNotMatching", "DSSNoMatchTCP", "DSSCorruptionFallback", "DSSCorruptionReset"):
        assert report.count(kernel, name) == 0, name
    assert report.count(kernel, "MPRstTx") == 0


@pytest.mark.parametrize("profile", ["late-map", "map-on-pure-ack"])
def test_linux_falls_back_at_once_when_data_goes_ahead_of_its_mapping(profile: str) -> None:
    """The reference's cases E1 and E11: the kernel holds nothing, and reads no mapping on a pure ACK. Our own receiver
    follows at once, too: a holding one would wait a window of data for the mappings that the kernel no longer sends."""
    report = carry(profile, "client", paths=1, receiver="linux")

    assert report.problems() == []
    assert report.count("server", "DssFallback") == 1
    assert report.client.fallback
