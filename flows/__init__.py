"""Wiring: one file is one dataflow; the settings; the command line."""
