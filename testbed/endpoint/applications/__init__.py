"""What runs above the sockets: one file per kind of traffic, each with both of its roles."""
