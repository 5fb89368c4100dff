"""Programs that others wrote as an end of a flow: docs/howto/add-an-implementation.md is the contract."""
