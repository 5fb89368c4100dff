"""The link model in integer nanoseconds: pure, seeded, shared by virtual time and real packets.

:mod:`link` puts together what one direction of a link does to each packet; :mod:`simulator` is virtual time.
Nothing here knows a clock, a socket or an operating system.
"""
