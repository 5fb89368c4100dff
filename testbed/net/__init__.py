"""The link model in integer nanoseconds: pure, seeded, shared by virtual time and real packets."""
