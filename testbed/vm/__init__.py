"""Any kernel in a virtual machine: images that are made once and kept, and machines that are booted from them.

fetching.obtain(cache, "6.12", say) -> Kernel    Debian's packages, .deb files or a bzImage
rootfs.build(cache, ...) -> RootFs               one root file system for all of them
cache.Cache                                      where they lie, by content
"""
