"""What the kernel does when options contend, and with mappings it cannot use: each mechanism seen on the wire.

Boxes that only watch count the options of packets that enter ``path1`` or ``path2``; counters of the kernel say what it
made of them. The same networks meet our own stack with the profile ``linux`` in the simulator: that checks the profile,
and is evidence of nothing else. Functions named are the kernel's (net/ipv4/tcp_output.c, net/mptcp), as read in 6.12
and 7.2.
"""

from __future__ import annotations

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND
from experiments.linux_mappings import fallbacks, resets
from experiments.linux_option_space import announcements, contention, half_close
from testbed.orchestrator.spec import Experiment

NAMES = ("L1", "L2", "L3", "L4", "L5", "L6", "S7", "S9", "S10", "S24", "S25", "N6", "N12")


def linux_mechanisms() -> Experiment:
    """Two-way transfers under loss, announcements, a half-close, and paths that take mappings away."""
    mechanisms = (*contention(), *announcements(), *half_close(), *resets(), *fallbacks())
    pairs = [(mechanism, stack) for mechanism in mechanisms for stack in mechanism.stacks]
    return Experiment(
        name="linux_mechanisms",
        question="What does this kernel leave out of 40 octets, and what does it do with mappings that it cannot use?",
        variants=tuple(mechanism.variant(stack) for mechanism, stack in pairs),
        repetitions=2,
        duration_ns=3 * SECOND,
        retries=2,
        capture=True,
        any_outcome=True,
        claims=tuple(CLAIMS[name] for name in NAMES),
        expectations=tuple(
            expectation
            for mechanism, stack in pairs
            for seen in mechanism.seen
            if stack in seen.stacks
            for expectation in seen.of(f"{mechanism.name}/{stack}", stack)
        ),
    )
