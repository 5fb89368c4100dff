"""The link model on real packets, between two interfaces of a middle node.

``python -m testbed.emulation`` is the relay process; :mod:`protocol` is what one says to it; :mod:`calibration`
measures a realised link, whatever realises it; :mod:`fidelity` judges a relay's report. Standard library only, so that
it starts fast.
"""
