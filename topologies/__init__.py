"""WHAT the network is: frozen, validated values. Imports nothing of ours, has no effects."""
