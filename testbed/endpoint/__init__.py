"""Who talks: the kernel's sockets and the applications above them."""
