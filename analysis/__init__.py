"""WHAT it meant: run directories in, tables, figures and verdicts out."""
