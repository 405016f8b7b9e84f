"""The command line: one file per command, which reads arguments and calls the rest.

``mmblocks COMMAND`` and ``python -m mmblocks COMMAND`` run the same functions as the scripts in
``tools/``.
"""
