"""What a worker of a Dask cluster does for a run: says what it is, and carries out one trial in virtual time.

A trial comes as bytes, with its experiment reduced to its own variant (2 KB, however large the plan is), and goes back
as bytes: the outcome and the files that it wrote. So nothing has to be on the worker but this checkout, and nothing is
lost with a worker that cannot be made again on another one.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import pickle
import platform
import tempfile
import threading
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import testbed
from testbed.orchestrator import environment, overrides, sim_trial
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.spec import Experiment
from testbed.orchestrator.trial import Outcome

ROOMS = (
    "testbed/endpoint",
    "testbed/mptcp",
    "testbed/net",
    "testbed/orchestrator",
    "testbed/record",
    "testbed/tcp",
    "testbed/wire",
    "topologies",
)
"""What has a part in a simulated trial."""
COMPARED: Mapping[str, str] = {
    "sources": "other sources of the testbed",
    "python": "another Python",
    "architecture": "another processor architecture",
    "libc": "another C library (its logarithms decide when packets are lost)",
    "distributed": "another version of distributed",
}
"""Facts in which a worker must be as the process that asks -> what it has when it is not."""
_LEVEL = 1
"""Of compression: rows shrink to a tenth of their size at once."""

_one_at_a_time = threading.Lock()


class OtherWorker(Exception):
    """A worker whose trials could differ from ours; the message names the difference, not the worker."""


def _sources() -> str:
    root = Path(testbed.__file__).parents[1]
    sha = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            content = path.read_bytes()
            sha.update(f"\0{path.relative_to(root)}\0{len(content)}\0".encode())
            sha.update(content)
    return sha.hexdigest()[:16]


_SOURCES = _sources()
"""As they were when this process imported them: a worker goes on with those, whatever becomes of its checkout."""


def facts() -> Mapping[str, str]:
    """What decides whether two processes make the same of a trial."""
    return _facts()


@lru_cache(maxsize=1)
def _facts() -> dict[str, str]:
    source = environment.source()
    return {
        "sources": _SOURCES,
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "distributed": importlib.metadata.version("distributed"),
        "commit": f"{source.get('commit')}{' with changes' if source.get('dirty') else ''}",
        "host": platform.node(),
    }


def difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str | None:
    """Why trials of the two could differ; None: they cannot."""
    for name, words in COMPARED.items():
        if ours[name] != theirs[name]:
            if name == "sources":
                return f"{words}: commit {theirs['commit']}, here it is {ours['commit']}"
            return f"{words}: {theirs[name]}, here it is {ours[name]}"
    return None


def packed(experiment: Experiment, trial: Trial) -> bytes:
    """A trial with what is needed of its experiment."""
    return pickle.dumps((overrides.only_variants(experiment, [trial.variant]), trial))


def carry_out(task: bytes, ours: Mapping[str, str]) -> bytes:
    """On the worker: the trial of :func:`packed`. One at a time in a process, also of a worker with several threads:
    nothing is gained by more.

    Raises OtherWorker.
    """
    if (problem := difference(ours, facts())) is not None:
        raise OtherWorker(problem)
    experiment, trial = pickle.loads(task)
    with _one_at_a_time, tempfile.TemporaryDirectory(prefix="trial-", dir=_scratch()) as scratch:
        folder = Path(scratch)
        for kind in ("captures", "logs"):
            (folder / kind).mkdir()
        _leave_the_heap_alone()
        outcome = sim_trial.run_trial(experiment, trial, folder, _silent)
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return zlib.compress(pickle.dumps((outcome, files)), _LEVEL)


def unpacked(result: bytes) -> tuple[Outcome, dict[str, bytes]]:
    """The outcome, and path below the trial's directory -> content, that :func:`carry_out` gave back."""
    outcome, files = pickle.loads(zlib.decompress(result))
    return outcome, files


def _scratch() -> str | None:
    """The worker's own directory: Dask removes it also when the worker was killed. None: no worker."""
    from distributed import get_worker

    try:
        return str(get_worker().local_directory)
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _leave_the_heap_alone() -> None:
    """Each trial collects garbage, and need not look at all of the worker's libraries again (sim_runner.py)."""
    gc.collect()
    gc.freeze()


def _silent(_phase: str, _expected_s: float) -> None:
    """Nobody looks at a single trial."""
