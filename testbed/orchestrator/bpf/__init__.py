"""BPF with nothing installed: the running kernel's types, instructions, the system call, its ring buffer."""
