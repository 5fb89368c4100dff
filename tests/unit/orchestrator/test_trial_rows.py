"""Rows of ``flows`` from what the two ends say."""

from __future__ import annotations

import dataclasses

import pytest

from testbed.endpoint.parameters import Application, Bulk, Program, RequestResponse, ShortFlows, Stream
from testbed.endpoint.protocol import FlowResult
from testbed.orchestrator import trial_rows
from testbed.orchestrator.spec import Flow
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path

TOPOLOGY = two_path(LinkProfile(), LinkProfile())
SECOND_NS = 10**9


def side(**values: object) -> FlowResult:
    base = FlowResult(
        role="client",
        flow="main",
        implementation="linux",
        implementation_in_force="linux",
        fallback=False,
        complete=True,
        stopped=False,
        sha256_sent="nothing",
        sha256_received="nothing",
    )
    return dataclasses.replace(base, **values)  # type: ignore[arg-type]


def row(application: Application, client: FlowResult, server: FlowResult) -> trial_rows.Row:
    return trial_rows.flow_row(0, TOPOLOGY, Flow(application=application), client, server)


SENT = side(bytes_sent=10, sha256_sent="all")


@pytest.mark.parametrize(
    ("server", "verdict"),
    [
        (side(bytes_received=10, sha256_received="all"), "ok"),
        (side(bytes_received=10, sha256_received="other"), "mismatch"),
        (side(bytes_received=9, sha256_received="part"), "mismatch"),
        (side(bytes_received=9, sha256_received="part", complete=False), "unchecked"),
        (side(bytes_received=9, sha256_received="part", complete=False, peer_ended=True), "mismatch"),
        (side(bytes_received=11, sha256_received="more", complete=False), "mismatch"),
        (side(bytes_received=10, sha256_received="all", complete=False), "ok"),
        (side(bytes_received=10, sha256_received=None), "unchecked"),
        (side(bytes_received=9, sha256_received="part", complete=False, first_mismatch=3), "mismatch"),
        (side(bytes_received=9, sha256_received=None, complete=False, error_kind="integrity"), "mismatch"),
    ],
)
def test_what_both_ends_claim_is_whole_has_to_be_the_same_bytes(server: FlowResult, verdict: str) -> None:
    assert trial_rows.integrity(SENT, server) == verdict


@pytest.mark.parametrize(
    ("server", "verdict"),
    [
        (side(bytes_received=10, received_compared=True), "ok"),
        (side(bytes_received=10, received_compared=True, first_mismatch=3), "mismatch"),
        (side(bytes_received=9, received_compared=True), "mismatch"),
        (side(bytes_received=9, received_compared=True, complete=False), "unchecked"),
        (side(bytes_received=9, received_compared=True, complete=False, peer_ended=True), "mismatch"),
        (side(bytes_received=10, sha256_received=None), "unchecked"),
    ],
)
def test_a_known_stream_that_was_compared_needs_no_hash(server: FlowResult, verdict: str) -> None:
    sent = side(bytes_sent=10, sha256_sent=None, sent_known=True)
    assert trial_rows.integrity(sent, server) == verdict


def test_integrity_is_of_every_direction_that_carried_bytes_and_of_no_other() -> None:
    server = side(bytes_received=10, sha256_received="all", bytes_sent=5, sha256_sent="back")
    assert trial_rows.integrity(SENT, server) == "mismatch"
    assert trial_rows.integrity(dataclasses.replace(SENT, complete=False), server) == "unchecked"
    both = dataclasses.replace(SENT, bytes_received=5, sha256_received="back")
    assert trial_rows.integrity(both, server) == "ok"
    assert trial_rows.integrity(side(), side()) == "unchecked"


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        (Stream(direction="upload"), (0, 4)),
        (Stream(direction="download"), (7, 0)),
        (RequestResponse(), (7, 0)),
        (ShortFlows(direction="upload"), (7, 0)),
        (Bulk(), (None, None)),
        (Program(), (None, None)),
    ],
)
def test_operations_are_the_receivers_of_a_stream_else_the_clients_and_none_is_zero(
    application: Application, expected: tuple[int | None, int | None]
) -> None:
    found = row(application, side(transfers=7), side(transfers=0, transfers_failed=4))
    assert (found["operations"], found["operations_failed"]) == expected


def test_goodput_of_both_directions_is_all_bytes_over_the_longer_time() -> None:
    client = side(bytes_received=100, goodput_bit_s=800.0, goodput_time_ns=SECOND_NS)
    server = side(bytes_received=100, goodput_bit_s=400.0, goodput_time_ns=2 * SECOND_NS)
    found = row(Bulk(direction="both"), client, server)
    assert found["goodput_bit_s"] == 800.0
    assert (found["goodput_upload_bit_s"], found["goodput_download_bit_s"]) == (400.0, 800.0)
    assert row(Bulk(direction="both"), client, side())["goodput_bit_s"] is None


def test_goodput_of_a_program_is_in_the_column_of_the_direction_it_went() -> None:
    server = side(bytes_received=9, goodput_bit_s=72.0, goodput_time_ns=SECOND_NS)
    found = row(Program(), side(bytes_sent=10), server)
    columns = ("goodput_bit_s", "goodput_upload_bit_s", "goodput_download_bit_s", "bytes_sent_download")
    assert [found[name] for name in columns] == [72.0, 72.0, None, 0]


def test_retransmits_are_a_total_of_both_ends_or_unknown() -> None:
    known, unknown = side(retransmits=3, bytes_retrans=30), side(retransmits=None, bytes_retrans=None)
    for application, server, total in (
        (Bulk(), side(retransmits=1, bytes_retrans=10), 4),
        (Bulk(), unknown, None),
        (Program(), unknown, None),
        (Program(server=(), client=("x",)), unknown, 3),
    ):
        assert row(application, known, server)["retransmits"] == total
    assert row(Bulk(), unknown, known)["bytes_retransmitted"] is None


def test_a_fallback_at_either_end_is_a_fallback_of_the_flow() -> None:
    assert row(Bulk(), side(), side(fallback=True))["fallback"] is True
    assert row(Bulk(), side(fallback=True), side())["fallback"] is True
    assert row(Bulk(), side(), side())["fallback"] is False
