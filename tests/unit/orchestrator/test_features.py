from __future__ import annotations

import errno
import os
import pickle
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from testbed.endpoint.probe import explain
from testbed.orchestrator import features, namespaces, sysctl
from testbed.orchestrator.errors import CommandFailed, Unsupported
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.sysctl import SysctlError


def test_every_feature_says_what_needs_it_and_how_to_get_it() -> None:
    for feature in features.probe_features():
        assert feature.detail
        assert feature.needed_by
        assert feature.available or feature.remedy


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("shown", "available", "said"),
    [
        ('[{"kind": "netem", "options": {"seed": 20260131}}]', True, "read back"),
        ('[{"kind": "netem", "options": {"loss-random": {"loss": 0.01}}}]', False, "the kernel ignores it"),
        ('[{"kind": "netem", "options": {"seed": 17}}]', False, "the kernel ignores it"),
        (None, False, "What is"),
    ],
)
def test_a_seed_is_believed_when_the_kernel_holds_it_and_not_when_tc_takes_it(
    monkeypatch: pytest.MonkeyPatch, shown: str | None, available: bool, said: str
) -> None:
    """Linux 6.1 under a new tc takes the command and keeps no seed; an old tc does not know the word."""

    def run(argv: Sequence[str]) -> str:
        if shown is None:
            raise CommandFailed(argv, 1, 'What is "seed"?')
        return shown if "-j" in argv else ""

    monkeypatch.setattr(features.process, "run", run)
    feature = features.netem_seed()
    assert (feature.available, said in feature.detail) == (available, True)


def test_asking_leaves_this_process_where_it_was() -> None:
    before = Path(namespaces.CURRENT_NET).stat().st_ino, os.sched_getscheduler(0)
    features.probe_features()
    assert (Path(namespaces.CURRENT_NET).stat().st_ino, os.sched_getscheduler(0)) == before


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
def test_mptcp_that_is_off_for_the_machine_is_there_in_a_lab_and_both_is_said() -> None:
    fds = namespaces.make_namespaces(1)
    with namespaces.inside(fds[0]):
        sysctl.write("net.mptcp.enabled", "0")
        feature = features.mptcp()
    namespaces.close_all(fds)
    assert feature.available
    assert "as labs have" in feature.detail
    assert "outside of labs: MPTCP is switched off" in feature.detail


def test_a_kernel_without_mptcp_is_explained_in_the_words_of_the_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = explain(errno.EPROTONOSUPPORT)
    monkeypatch.setattr("testbed.endpoint.probe.probe", lambda implementation: verdict)
    feature = features.mptcp()
    assert not feature.available
    assert verdict.reason in feature.detail
    assert feature.remedy == verdict.remedy


def as_nobody(function: Callable[[], Any]) -> Any:
    """What the function returns to a user without privileges; the process that changed its user ends."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.write(writer, pickle.dumps(function()))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(answer)


@pytest.mark.needs_root
def test_without_root_a_qdisc_is_not_known_instead_of_not_there() -> None:
    assert as_nobody(features.qdiscs) == QdiscFeatures(unknown="not known without root")
    tbf = as_nobody(features.tbf)
    assert (tbf.available, tbf.detail, tbf.remedy) == (False, "not known without root", "ask again as root")
    assert "CONFIG_NET_NS" in as_nobody(features.network_namespaces).remedy
    assert not features.qdiscs().unknown


@pytest.mark.needs_root
def test_sysctls_are_read_back_and_refusals_explained() -> None:
    fds = namespaces.make_namespaces(1)
    with namespaces.inside(fds[0]):
        sysctl.write("net.ipv4.ip_forward", "1")
        assert sysctl.read("net.ipv4.ip_forward") == "1"
        sysctl.write("net.ipv4.tcp_rmem", "4096  131072\t6291456")
        with pytest.raises(SysctlError, match="tcp_syn_retries cannot be set to 'many'"):
            sysctl.write("net.ipv4.tcp_syn_retries", "many")
        with pytest.raises(Unsupported, match=r"net\.ipv4\.no_such does not exist"):
            sysctl.write("net.ipv4.no_such", "1")
        with pytest.raises(SysctlError, match="not a name"):
            sysctl.write("../etc/passwd", "1")
    namespaces.close_all(fds)


@pytest.mark.needs_root
def test_a_congestion_control_that_the_kernel_lacks_or_keeps_to_itself_is_unsupported() -> None:
    available, allowed = (
        sysctl.read(f"net.ipv4.tcp_{which}_congestion_control").split() for which in ("available", "allowed")
    )
    fds = namespaces.make_namespaces(1)
    with namespaces.inside(fds[0]):
        with pytest.raises(Unsupported, match=rf"no-such.*only {', '.join(available)}; .*modprobe tcp_no-such"):
            sysctl.write("net.ipv4.tcp_congestion_control", "no-such")
        for name in set(available) - set(allowed) - {sysctl.read("net.ipv4.tcp_congestion_control")}:
            with pytest.raises(Unsupported, match=rf"{name}.*only allowed ones: {', '.join(allowed)}"):
                sysctl.write("net.ipv4.tcp_congestion_control", name)
    namespaces.close_all(fds)


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
@pytest.mark.parametrize("what", ["scheduler", "path_manager"])
def test_a_scheduler_or_path_manager_that_the_kernel_lacks_is_unsupported(what: str) -> None:
    if not Path("/proc/sys/net/mptcp", what).exists():
        pytest.skip(f"this kernel has no choice of {what}s")
    available = ", ".join(sysctl.read(f"net.mptcp.available_{what}s").split())
    fds = namespaces.make_namespaces(1)
    with namespaces.inside(fds[0]), pytest.raises(Unsupported, match=rf"no-such.*only {available}"):
        sysctl.write(f"net.mptcp.{what}", "no-such")
    namespaces.close_all(fds)


def test_the_kernel_ledger_says_in_one_line_why_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    feature = features.kernel_ledger()
    assert not feature.available
    assert feature.detail == "BPF needs root"
    assert "ledger" in feature.needed_by and feature.remedy
