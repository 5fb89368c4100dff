"""Whose claims they are, each name spelled once."""

from __future__ import annotations

FORD = "Alan Ford (editor of the draft)"
ANIL = "V Anil Kumar (CSIR-4PI)"
NISHIDA = "Yoshifumi Nishida (chair)"
PAASCH = "Christoph Paasch (Apple)"
PROJECT = "this project"
