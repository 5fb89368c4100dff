"""What several tests of machines find here, whatever this machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.vm import slowed


@pytest.fixture
def slowing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library that slows time, at the only place where it is looked for."""
    path = tmp_path / "faketime" / slowed.LIBRARY
    path.parent.mkdir()
    path.touch()
    monkeypatch.setattr(slowed, "PLACES", (str(tmp_path),))
    return path
