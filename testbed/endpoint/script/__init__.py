"""A peer that says, to the octet and to the nanosecond, what a script tells it to: one segment a line.

``language.py`` turns the lines into the values of ``actions.py``; ``peer.py`` carries them out, sans-IO, over
``subflow.py`` (the sequence numbers of a 4-tuple), ``drafts.py`` (option areas) and ``notes.py`` (what it hears). The
simulator and the driver on real interfaces drive the same peer. docs/howto/script-a-peer.md tells how to write one.
"""
