"""``--accept``: a new level is meant. An immutable event in the history; ``all`` also moves the accepted build on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.history import History
from testbed.nightly.campaign import Campaign
from testbed.orchestrator.spec import SpecificationError

ALL = "all"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was accepted."""

    series: str | None
    """None: all of the campaign."""
    night_utc: str
    commit: str | None
    """Of the build that later nights are compared with; None: that does not change."""
    path: Path


def accept(history: History, campaign: Campaign, machine: str, series: str, why: str) -> Accepted:
    """Note that the level of the newest night is the usual one from then on. Raises SpecificationError."""
    if not why.strip():
        raise SpecificationError('--accept needs --why "...": those who read the history later want to know')
    nights = [each for each in history.manifests() if (each["campaign"], each["machine"]) == (campaign.name, machine)]
    if not nights:
        raise SpecificationError(
            f"--accept {series}: {history.path} has no night of campaign {campaign.name} on this machine ({machine})"
        )
    newest = nights[-1]
    name = None if series == ALL else _known(history, campaign, machine, series)
    commit = _commit(campaign, newest) if name is None else None
    facts: dict[str, Any] = {"series": name, "by": why, "commit": commit}
    key = {"night_utc": newest["night_utc"], "campaign": campaign.name, "machine": machine}
    return Accepted(name, str(newest["night_utc"]), commit, history.note("acceptance", **key, **facts))


def _commit(campaign: Campaign, newest: Mapping[str, Any]) -> str | None:
    """The build that becomes the accepted one."""
    if campaign.reference.build != "accepted":
        return None
    source = newest["source"]
    if not source["commit"] or source["dirty"] is not False:
        raise SpecificationError(
            f"--accept all: the newest night ({newest['night_utc'][:10]}) measured sources that are in no commit, and "
            "later nights could not be compared with them; commit, measure a night, and accept that"
        )
    return str(source["commit"])


def _known(history: History, campaign: Campaign, machine: str, series: str) -> str:
    frame = history.frame(campaign=campaign.name, machine=machine)
    names = sorted({str(name) for name in frame["series"]})
    if series in names:
        return series
    near = difflib.get_close_matches(series, names, n=3, cutoff=0.3) or names[:3]
    raise SpecificationError(f"--accept {series}: the history has no such series; near: {'; '.join(near)}")
