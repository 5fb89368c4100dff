"""Every claim by its id: ``CLAIMS["S7"]``.

S: the seed thread (``seed_claims.py``). N: novel, L: mechanisms of Linux (``novel_claims.py``). V: published results
that are reproduced (``published_claims.py``). Importing this imports values only.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from experiments.novel_claims import LINUX_CLAIMS, NOVEL_CLAIMS
from experiments.published_claims import PUBLISHED_CLAIMS
from experiments.seed_claims import SEED_CLAIMS
from testbed.orchestrator.spec import Claim, SpecificationError

CLAIMS: Mapping[str, Claim] = {
    claim.id: claim for claim in (*SEED_CLAIMS, *NOVEL_CLAIMS, *LINUX_CLAIMS, *PUBLISHED_CLAIMS)
}
"""In the order in which reports tell of them."""


def claim(identifier: str) -> Claim:
    """The claim of that id, in either case. Raises SpecificationError that lists near ids."""
    found = CLAIMS.get(identifier.upper())
    if found is None:
        near = difflib.get_close_matches(identifier.upper(), CLAIMS, n=3, cutoff=0.4) or list(CLAIMS)
        raise SpecificationError(f"there is no claim {identifier!r}; near ones: {', '.join(near)}")
    return found
