"""What an adapter is told and by which words it answers: the contract as values, without any process.

docs/howto/add-an-implementation.md is the same for who writes an adapter; a test holds the two together. Shape and
exit code 127 are those of the QUIC interop runner.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from testbed.endpoint.parameters import Endpoint
from testbed.endpoint.protocol import Configuration

VERSION = 1
"""Of the contract, ``TESTBED_CONTRACT``: a higher one only when an adapter of before would do something wrong."""
STATUS_FD, CONTROL_FD = 3, 4
"""Where an adapter says, and where it is told, one word a line. Of one digit: dash(1) redirects no others."""
LISTENING, CONNECTED, READY = "LISTENING", "CONNECTED", "READY"
"""What it says: a server listens; the connection stands; a client that waits for the start is ready."""
START, WITHDRAW = "START", "WITHDRAW"
"""What it is told: connect now; give the address up that follows."""
UNSUPPORTED = 127
"""Exit code of an adapter that does not know the test, or cannot do what is asked."""
NO_SUCH_TEST = "no-such-test-compliance-probe"
"""A test that nobody has: whoever does not refuse it would also pass tests that it does not know."""
FACTS_FILE, LOG_FILE = "facts.json", "stderr.txt"
"""In the log directory."""


def variables(configuration: Configuration, log_directory: Path) -> dict[str, str]:
    """What an adapter is told about its flow. Empty: no wish, or there is none."""
    endpoint, manager = configuration.endpoint, configuration.path_manager
    local = _first(configuration.local_address, [own for _, own, _ in configuration.paths])
    remote = _first(configuration.remote_address, [other for *_, other in configuration.paths])
    wait_ns = configuration.duration_ns + configuration.drain_ns
    return {
        "TESTBED_CONTRACT": str(VERSION),
        "TESTBED_TEST": configuration.test,
        "TESTBED_ROLE": configuration.role,
        "TESTBED_FAMILY": str(configuration.family),
        "TESTBED_LOCAL_ADDRESS": local[0] if local else "",
        "TESTBED_LOCAL_ADDRESSES": " ".join(local),
        "TESTBED_REMOTE_ADDRESS": remote[0] if remote else "",
        "TESTBED_REMOTE_ADDRESSES": " ".join(remote),
        "TESTBED_PORT": str(configuration.port),
        "TESTBED_PATH_MANAGER": manager.mode if manager is not None else "none",
        "TESTBED_SUBFLOWS": str(manager.subflows if manager is not None else 0),
        "TESTBED_NDIFFPORTS": str(manager.ports) if manager is not None and manager.mode == "ndiffports" else "",
        "TESTBED_BACKUP_ADDRESSES": " ".join(manager.backup_addresses) if manager is not None else "",
        "TESTBED_WITHDRAW_ADDRESS": (manager.withdraw_address or "") if manager is not None else "",
        **_wishes(endpoint),
        "TESTBED_TIMEOUT_S": str(-(-wait_ns // 10**9)),
        "TESTBED_SEED": str(configuration.seed),
        "TESTBED_STATUS_FD": str(STATUS_FD),
        "TESTBED_CONTROL_FD": str(CONTROL_FD),
        "TESTBED_LOG_DIR": str(log_directory),
        "TESTBED_FACTS": str(log_directory / FACTS_FILE),
    }


def surroundings(endpoint: Endpoint, contract: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of an adapter: ours without what is the testbed's own, its own, and the contract's."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("TESTBED_") and name != "PYTHONPATH"
    }
    own = dict(word.split("=", 1) for word in endpoint.environment)
    return {**inherited, **own, **contract}


def _wishes(endpoint: Endpoint) -> dict[str, str]:
    texts = {
        "TESTBED_CONGESTION_CONTROL": endpoint.congestion_control,
        "TESTBED_SCHEDULER": endpoint.scheduler,
        "TESTBED_CHECKSUM": endpoint.checksum,
        "TESTBED_TIMESTAMPS": endpoint.timestamps,
        "TESTBED_SACK": endpoint.sack,
        "TESTBED_NODELAY": endpoint.nodelay or None,
        "TESTBED_SEND_BUFFER": endpoint.send_buffer_bytes,
        "TESTBED_RECEIVE_BUFFER": endpoint.receive_buffer_bytes,
    }
    return {name: _text(value) for name, value in texts.items()}


def _text(value: str | int | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _first(address: str | None, addresses: list[str]) -> list[str]:
    """Each address once, that of the first subflow first."""
    return list(dict.fromkeys([*([address] if address is not None else []), *addresses]))
