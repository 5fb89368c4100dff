"""What arrives is what was sent, whatever happens: random cases for the whole stack (``benchmarks/integrity_soak.py``
plays thousands), and the case in which Linux 6.18 loses octets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integrity import MS, SECOND, Broken, Case, PathCase, Run, User, content, play, random_case
from two_hosts import TwoHosts

from testbed.mptcp.parameters import Parameters
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.wire.options import KIND_MPTCP
from testbed.wire.segment import ACK, PSH, SYN, Segment


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 1 << 32))
def test_what_arrives_is_what_was_sent(seed: int) -> None:
    play(seed)


@pytest.mark.parametrize("first", range(1, 201, 50))
def test_the_first_cases_of_the_soak(first: int) -> None:
    for seed in range(first, first + 50):
        try:
            play(seed)
        except Exception as error:
            raise Broken(f"python -m benchmarks.integrity_soak --seed {seed}: {error}") from error


@pytest.mark.parametrize(
    "seed",
    [
        802545,  # the echo of an ADD_ADDR took the place of the only DATA_ACK of the first data
        772968,  # mappings that come late, asked for on ACKs, after a fallback
    ],
)
def test_cases_that_once_failed(seed: int) -> None:
    play(seed)


def test_a_case_follows_from_its_seed() -> None:
    def transcript(seed: int) -> list[str]:
        run = Run(random_case(seed))
        run.transcript = []
        run.run()
        return run.transcript

    for seed in (3, 44, 45):
        assert transcript(seed) == transcript(seed)


def test_the_harness_notices_an_octet_that_is_wrong() -> None:
    case = random_case(2)
    case = replace(case, paths=[_path([])], users=(_user(5000), _user(0)), address_changes=[])
    run = Run(case)
    run.ends[1].expects = b"x" + run.ends[1].expects[1:]
    with pytest.raises(Broken, match="wrong octets at 0"):
        run.run()


def _path(boxes: list[str], loss: float = 0.0) -> PathCase:
    return PathCase(5 * MS, 10_000_000, loss, 0.0, 0, 0.0, [], boxes)


def _user(octets: int, chunk: int = 100) -> User:
    return User(octets, chunk, [], False, None)


def _strip_after_the_syn(segment: Segment, now: int) -> Segment:
    if segment.flags & SYN:
        return segment
    options = tuple(option for option in segment.options if option.kind != KIND_MPTCP)
    return _like(segment, segment.seq, segment.payload, options)


def _like(segment: Segment, seq: int, payload: bytes, options: tuple[object, ...] = ()) -> Segment:
    return Segment(
        segment.source,
        segment.destination,
        seq & 0xFFFFFFFF,
        segment.ack,
        segment.flags | (PSH | ACK if payload else ACK),
        segment.window,
        options,  # type: ignore[arg-type]
        payload,
    )


def test_fallback_and_a_partly_overlapping_retransmission_lose_nothing() -> None:
    """protocol.md §4.3 (E14): octets 61-110 delivered, then one segment with 61-160. Linux 6.18 acknowledges all, and
    its user never gets 111-160 nor anything after."""
    parameters = Parameters(tcp=TcpParameters(timestamps=False, nagle=False))
    hosts = TwoHosts(parameters)
    hosts.paths[0].filters.append(_strip_after_the_syn)
    client, server = hosts.connect()
    data = content(1, 0, 1000)
    assert hosts.transfer(client, server, data[:110], chunk=110) == data[:110]
    assert server.fallen_back
    template = next(s for s in hosts.sent(True) if s.payload)
    hosts.deliver(hosts.server, _like(template, template.seq + 60, data[60:160]))
    assert server.receive(1000) == data[110:160]
    # Again, overlapping at both ends and out of order, then what is between.
    hosts.deliver(hosts.server, _like(template, template.seq + 250, data[250:400]))
    hosts.deliver(hosts.server, _like(template, template.seq + 100, data[100:300]))
    assert server.receive(1000) == data[160:400]
    # The peer's own stack goes on from where it was.
    assert hosts.transfer(client, server, data[110:], chunk=90) == data[400:]


@pytest.mark.parametrize("side", ["mptcp client, tcp server", "options stripped", "tcp client, mptcp server"])
@pytest.mark.parametrize("recovery", ["newreno", "rack"])
def test_fallback_with_small_writes_loss_and_segments_cut_and_joined_anew(side: str, recovery: str) -> None:
    """The natural way to E14: Reno, 5 % loss, small writes, retransmissions that join old and new octets."""
    boxes = ["coalesce", "split"] + (["strip-all"] if side == "options stripped" else [])
    for seed in range(6):
        base = random_case(seed)
        tcp = TcpParameters(recovery=recovery, nagle=False, sack=recovery != "newreno")  # type: ignore[arg-type]
        mptcp = Parameters(tcp=tcp, congestion_control="reno")
        plain = replace(mptcp, enabled=False)
        parameters = {
            "mptcp client, tcp server": (mptcp, plain),
            "options stripped": (mptcp, mptcp),
            "tcp client, mptcp server": (plain, mptcp),
        }[side]
        case = Case(
            seed,
            parameters,
            base.profiles,
            base.receivers,
            [_path(boxes, loss=0.05)],
            (_user(30_000), _user(30_000)),
            False,
            False,
            [],
        )
        run = Run(case)
        run.run()
        for end in run.ends:
            assert end.read == 30_000, (side, seed, end.events)
            assert run.now - run.start < 1000 * SECOND
