"""A node of a lab that lives on another machine: its namespace, its programs and its counters are there.

Both machines plan the same network from the same experiment (``network_plan`` is pure), and each builds its part of it
(``parts``); where a wire leaves the machine, it goes on over the private link between the two (``trunk``). What is to
be done there is asked over a connection (``exchange``): ``machine`` asks, ``agent`` does it. Nothing of it outlives
that connection.
"""
