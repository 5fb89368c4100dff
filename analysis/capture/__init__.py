"""Captures: any pcap or pcapng to columns, connections and what was measured of them. Needs no root and no testbed."""
