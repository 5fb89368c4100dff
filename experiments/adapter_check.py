"""What an adapter has to be able to do before anything is measured with it: ``testbed adapter check``."""

from __future__ import annotations

from testbed.orchestrator.spec import Bulk, Endpoint, Experiment, Flow, PathManager, Variant
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path

KIB, SECOND, MS = 1024, 10**9, 10**6

_UPLOAD = Bulk(size_bytes=256 * KIB)
_DOWNLOAD = Bulk(direction="download", size_bytes=256 * KIB)
_HALF_CLOSE = Bulk(direction="both", size_bytes=256 * KIB, half_close=True)
_LONG_ENOUGH = Bulk(size_bytes=256 * KIB, settle_ns=SECOND // 2)
_STEPS: tuple[tuple[str, str, Bulk, str], ...] = (
    ("upload", "transfer", _UPLOAD, "takes, or sends, 256 KiB and ends in order"),
    ("download", "transfer", _DOWNLOAD, "the same the other way"),
    ("half-close", "half_close", _HALF_CLOSE, "the server sends only when it has read the client's end of stream"),
    ("join", "join", _LONG_ENOUGH, "a second subflow over the second path, which the server's address announces"),
)


def adapter_check(adapter: Endpoint) -> Experiment:
    """Every step with the adapter as client and as server of this kernel, once."""
    peer = Endpoint(implementation="linux-tcp" if adapter.is_plain_tcp else "linux")
    path = LinkProfile(delay_ns=5 * MS)  # no rate: also a busy machine keeps it
    variants = [
        Variant(
            name=f"{role}/{name}",
            summary=f"As {role}: {summary}.",
            topology=two_path(path1=path, path2=path),
            flows=(
                Flow(
                    application=application,
                    client=adapter if role == "client" else peer,
                    server=adapter if role == "server" else peer,
                    test=test,
                ),
            ),
            path_manager=PathManager(mode="signal" if name == "join" else "none"),
        )
        for role in ("client", "server")
        for name, test, application, summary in _STEPS
        if not (name == "join" and adapter.is_plain_tcp)
    ]
    return Experiment(
        name="adapter-check",
        question=f"Does the adapter {adapter.adapter} keep the contract?",
        variants=tuple(variants),
        repetitions=1,
        duration_ns=3 * SECOND,
    )
