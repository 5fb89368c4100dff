"""One TCP connection, sans-IO: time an argument in ns, chance a ``random.Random`` passed in (RFC 9293 and friends).

The room never learns the word of what may lie above it: :mod:`testbed.tcp.seam` is all that can be plugged in.
"""
