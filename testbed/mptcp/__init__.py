"""Multipath TCP, version 1 (RFC 8684), over :mod:`testbed.tcp`: sans-IO, every policy a parameter."""
