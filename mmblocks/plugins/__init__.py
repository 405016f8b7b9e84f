"""Plugins: what a config inserts into a net or puts in place of its convolutions."""
