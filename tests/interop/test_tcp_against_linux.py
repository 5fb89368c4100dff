"""Our TCP by itself against this kernel's TCP, in both roles, with data both ways and half-closes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).parents[1] / "support" / "tcp_against_linux.py"
pytestmark = pytest.mark.needs_root


def _run(*cases: dict[str, Any]) -> list[dict[str, Any]]:
    if not Path("/dev/net/tun").exists():
        pytest.skip("needs /dev/net/tun")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, str(CHILD), json.dumps(cases)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    for case, result in zip(cases, results, strict=True):
        assert result["kernel got everything"] and result["we got everything"], (case, result)
        assert result["error"] == "" and result["state"] in ("CLOSED", "TIME_WAIT"), (case, result)
    return results


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_a_transfer_both_ways_with_and_without_losses(role: str, v6: bool) -> None:
    calm, lossy = _run({"role": role, "v6": v6}, {"role": role, "v6": v6, "loss": 0.03, "octets": 150_000})

    assert calm["timestamps"] and calm["sack"]
    assert "TcpRetransSegs" not in calm["counters"]
    assert lossy["counters"]["TcpRetransSegs"] > 0


@pytest.mark.parametrize("role", ["client", "server"])
def test_what_is_switched_off_here_is_off_on_the_wire(role: str) -> None:
    bare, no_sack = _run(
        {"role": role, "loss": 0.02, "parameters": {"timestamps": False, "window_scaling": False}},
        {"role": role, "loss": 0.02, "octets": 100_000, "parameters": {"sack": False}},
    )

    assert not bare["timestamps"] and bare["sack"]
    assert no_sack["timestamps"] and not no_sack["sack"]


@pytest.mark.parametrize("role", ["client", "server"])
def test_ecn_is_agreed_upon(role: str) -> None:
    (result,) = _run({"role": role, "parameters": {"ecn": True}})

    assert result["ecn"]


@pytest.mark.parametrize("role", ["client", "server"])
def test_fast_open_works_from_the_second_connection_on(role: str) -> None:
    case = {"role": role, "fast_open": True, "octets": 3000, "parameters": {"fast_open": True}}
    first, second = _run(case, case)

    assert first["fast_open"] == 0
    assert second["fast_open"] > 0


@pytest.mark.parametrize("role", ["client", "server"])
def test_tiny_buffers_close_and_open_the_window(role: str) -> None:
    (result,) = _run({"role": role, "parameters": {"receive_buffer": 6000, "send_buffer": 6000}, "octets": 100_000})

    assert result["state"] in ("CLOSED", "TIME_WAIT")
