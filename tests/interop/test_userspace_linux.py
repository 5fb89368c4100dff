"""The userspace stack against the Linux kernel's MPTCP over emulated paths, both roles: every byte arrives, and the
kernel's counters say that MPTCP was spoken, by as many subflows as there should be."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest
from userspace_lab import LINUX, MS, PATH, USERSPACE, Report, Scenario, carry_out

from testbed.endpoint.parameters import Bulk, RequestResponse
from testbed.orchestrator.spec import PathManager
from topologies.link_profile import Change, QueueLimit, RandomLoss, Reordering
from topologies.middlebox import parse

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

ROLES = {"client": {"client": USERSPACE, "server": LINUX}, "server": {"client": LINUX, "server": USERSPACE}}
"""The role of the userspace stack -> the ends."""


def scenario(role: str, **values: object) -> Scenario:
    return Scenario(**{**ROLES[role], **values})  # type: ignore[arg-type]


def with_endpoints(made: Scenario, **values: object) -> Scenario:
    return dataclasses.replace(
        made,
        client=dataclasses.replace(made.client, **values),  # type: ignore[arg-type]
        server=dataclasses.replace(made.server, **values),  # type: ignore[arg-type]
    )


def assert_mptcp(report: Report, joins: int | None = 0) -> None:
    """Every byte is there and MPTCP was spoken, with so many further subflows (None: the path may prevent them)."""
    assert report.problems() == []
    for end in ("client", "server"):
        result = report.client if end == "client" else report.server
        assert not result.fallback, end
        if joins is not None:
            assert result.subflows_seen == 1 + joins, end
    assert report.count("client", "MPCapableSYNTX") >= 1
    assert report.count("server", "MPCapableSYNRX") >= 1
    assert report.count("client", "MPCapableSYNACKRX") == report.count("server", "MPCapableACKRX") == 1
    if joins is not None:
        assert report.count("server", "MPJoinSynRx") == report.count("server", "MPJoinAckRx") == joins
    for end in ("client", "server"):
        for name in ("MPCapableFallbackACK", "MPFailTx", "MPFailRx", "DataCsumErr"):
            assert report.count(end, name) == 0, (end, name)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("role", ROLES)
def test_one_subflow_two_way(role: str, family: int) -> None:
    assert_mptcp(carry_out(scenario(role, family=family)))


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("role", ROLES)
def test_two_subflows_with_and_without_timestamps_and_checksums(role: str, checksum: bool, timestamps: bool) -> None:
    made = scenario(role, path_manager=PathManager(mode="signal"))
    assert_mptcp(carry_out(with_endpoints(made, checksum=checksum, timestamps=timestamps)), joins=1)


@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize("role", ROLES)
def test_one_way_in_super_segments(role: str, direction: str) -> None:
    bulk = Bulk(direction=direction, size_bytes=10_000_000)  # type: ignore[arg-type]
    fast = dataclasses.replace(PATH, rate_bit_s=200_000_000, queue=QueueLimit(packets=1000))
    made = scenario(role, paths=(fast, fast), offloads="on", super_segments=True, application=bulk)
    assert_mptcp(carry_out(dataclasses.replace(made, path_manager=PathManager(mode="signal"))), joins=1)


@pytest.mark.parametrize("role", ROLES)
def test_requests_and_responses(role: str) -> None:
    exchanges = RequestResponse(request_bytes=300, response_bytes=20_000, count=40)
    report = carry_out(scenario(role, application=exchanges, path_manager=PathManager(mode="signal")))
    assert report.problems() == []
    assert report.client.transfers == 40
    assert_mptcp(report, joins=1)


@pytest.mark.parametrize(
    ("role", "mode", "joins"),
    [
        *((role, mode, joins) for role in ROLES for mode, joins in (("subflow", 1), ("signal", 1), ("fullmesh", 3))),
        (
            "client",
            "ndiffports",
            1,
        ),  # a kernel client opens one subflow per announced port, and our server announces none
    ],
)
def test_every_path_manager_of_one_opens_subflows_to_the_other(role: str, mode: str, joins: int) -> None:
    report = carry_out(scenario(role, path_manager=PathManager(mode=mode)))  # type: ignore[arg-type]
    assert_mptcp(report, joins)
    if mode in ("signal", "fullmesh"):
        assert report.count("client", "AddAddr") == report.count("server", "EchoAdd") == 1


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("role", ROLES)
def test_three_paths(role: str, family: int) -> None:
    report = carry_out(scenario(role, paths=(PATH,) * 3, path_manager=PathManager(mode="signal"), family=family))
    assert_mptcp(report, joins=2)


@pytest.mark.parametrize(
    "impaired",
    [
        {"loss": RandomLoss(0.01)},
        {"loss": RandomLoss(0.05)},
        {"reordering": Reordering(probability=0.05)},
        {"duplication": 0.02},
        {"corruption": 0.01},
    ],
    ids=lambda impaired: next(iter(impaired)),
)
@pytest.mark.parametrize("role", ROLES)
def test_paths_that_lose_reorder_copy_and_damage(role: str, impaired: dict[str, object]) -> None:
    """Linux takes data that overtakes the end of a handshake for a fallback, or for a violation on a further subflow
    (net/mptcp/options.c, check_fully_established): so the first path keeps the order, and a join may be refused."""
    bad = dataclasses.replace(PATH, **impaired)  # type: ignore[arg-type]
    first = PATH if "reordering" in impaired else bad
    bulk = Bulk(direction="both", size_bytes=400_000)
    made = scenario(role, paths=(first, bad), path_manager=PathManager(mode="signal"), application=bulk)
    assert_mptcp(carry_out(made), joins=None)


@pytest.mark.parametrize("role", ROLES)
def test_a_path_fails_and_comes_back(role: str) -> None:
    outage = (Change(at_ns=300 * MS, down=True), Change(at_ns=1500 * MS, down=False))
    slow = dataclasses.replace(PATH, rate_bit_s=10_000_000)
    bulk = Bulk(direction="both", size_bytes=2_500_000)
    made = scenario(role, paths=(slow, slow), path_manager=PathManager(mode="signal"), application=bulk)
    report = carry_out(dataclasses.replace(made, changes={"path1": outage}))
    assert_mptcp(report, joins=1)
    assert report.count(role, "MPTCPRetrans") > 0


@pytest.mark.parametrize("role", ROLES)
def test_a_backup_path_rests_until_the_other_fails(role: str) -> None:
    slow = dataclasses.replace(PATH, rate_bit_s=10_000_000)
    bulk = Bulk(direction="upload", size_bytes=1_500_000)
    manager = PathManager(mode="backup", backup_paths=("path2",))
    made = scenario(role, paths=(slow, slow), path_manager=manager, application=bulk)
    calm = carry_out(made)
    assert_mptcp(calm, joins=1)
    assert carried(calm)[1] < 20_000, carried(calm)
    stormy = carry_out(dataclasses.replace(made, changes={"path1": (Change(at_ns=400 * MS, down=True),)}))
    assert [problem for problem in stormy.problems() if "bytes" in problem or "SHA" in problem] == []
    assert carried(stormy)[1] > 500_000, carried(stormy)


def carried(report: Report) -> list[int]:
    """Bytes that the client sent on each subflow, as acknowledged."""
    return [each.tcp_info["bytes_acked"] or 0 for each in report.client.subflows]


@pytest.mark.parametrize(("up", "down"), [(1_000_000, 10), (10, 1_000_000)])
@pytest.mark.parametrize("role", ROLES)
def test_one_side_ends_long_before_the_other(role: str, up: int, down: int) -> None:
    bulk = Bulk(direction="both", size_bytes=up, reverse_size_bytes=down)
    assert_mptcp(carry_out(scenario(role, application=bulk)))


@pytest.mark.parametrize(
    ("forward", "backward", "where"),
    [
        ("strip mptcp on syn", "none", "MPCapableFallbackSYNACK"),
        ("none", "strip mptcp on syn-ack", "MPCapableFallbackSYNACK"),
        ("strip mptcp on third-ack+data+ack", "none", "MPCapableFallbackACK"),
        ("strip mptcp on data", "strip mptcp on data", None),
    ],
    ids=["syn", "syn-ack", "third-ack", "data"],
)
@pytest.mark.parametrize("role", ROLES)
def test_a_middlebox_that_takes_the_option_makes_it_tcp(
    role: str, forward: str, backward: str, where: str | None
) -> None:
    forth, back = (dataclasses.replace(PATH, middleboxes=parse(text)) for text in (forward, backward))
    report = carry_out(scenario(role, paths=(forth,), backward=(back,)))
    assert report.problems() == []
    assert report.client.fallback
    if where is not None:
        assert report.count("server" if where.endswith("FallbackACK") else "client", where) == 1
    assert report.count("server", "MPCapableSYNRX") == (0 if "on syn" in forward else 1)


@pytest.mark.parametrize("role", ROLES)
def test_tshark_finds_nothing_malformed_and_no_fault_in_mptcp(role: str, tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("no tshark")
    report = carry_out(scenario(role, path_manager=PathManager(mode="signal")), captures=tmp_path)
    assert_mptcp(report, joins=1)
    faults = " or ".join(f"mptcp.{note}" for note in MPTCP_NOTES)
    for file in report.captures:
        for wanted, found in ((f"_ws.malformed or {faults}", False), ("tcp.options.mptcp.rawdataseqno", True)):
            argv = ["tshark", "-r", str(file), "-Y", wanted]
            lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
            assert bool(lines) == found, lines[:3]


MPTCP_NOTES = (
    "connection.echoed_key_mismatch",
    "connection.missing_algorithm",
    "connection.unsupported_algorithm",
    "dss.infinite_mapping",
    "dss.missing_mapping",
)
"""Expert notes of Wireshark's dissector about MPTCP (epan/dissectors/packet-tcp.c)."""


def test_an_interface_that_goes_down_takes_its_address_along() -> None:
    """The client is ours: the kernel is told by REMOVE_ADDR, and everything arrives by the other path."""
    slow = dataclasses.replace(PATH, rate_bit_s=10_000_000)
    bulk = Bulk(direction="both", size_bytes=2_000_000)
    made = scenario("client", paths=(slow, slow), path_manager=PathManager(mode="subflow"), application=bulk)
    down = ["ip", "link", "set", "dev", "client-eth1", "down"]
    report = carry_out(made, during=[(0.5, "client", down)])
    assert report.problems() == []
    assert report.count("client", "RmAddrTx") == report.count("server", "RmAddr") == 1
    assert carried(report)[0] > 1_000_000
