"""Nets of mmblocks measured side by side with the same nets of other libraries.

Nothing else of mmblocks imports it. The other libraries are read from a folder of their own, see
:mod:`mmblocks.benchmark.peers`.
"""
