"""HOW an experiment runs: the link model, the endpoints, the backends, the record that a run leaves."""

from testbed import compilation

compilation.activate()
