"""The link model on real packets, between two interfaces of a middle node."""
