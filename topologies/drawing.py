"""Drawings of a topology, derived from the model and never typed: text for a terminal, SVG for a report."""

from __future__ import annotations

from topologies.svg_drawing import as_svg
from topologies.text_drawing import as_text

__all__ = ["as_svg", "as_text"]
