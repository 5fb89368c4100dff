"""The userspace stack as a process on the interfaces of a Linux host: AF_PACKET in and out, the kernel kept quiet."""
