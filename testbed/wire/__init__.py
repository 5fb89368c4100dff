"""Bytes <-> values: IP, TCP, every TCP and MPTCP option, captures, checksums, serial numbers.

Imports nothing of ours."""
