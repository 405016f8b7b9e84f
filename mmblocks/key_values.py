"""Options of a net on the command line of a tool."""

from __future__ import annotations

import argparse
from typing import Any

from mmengine.config import DictAction


class KeyValues(DictAction):
    """MMEngine's ``KEY=VALUE`` pairs, with an error instead of a traceback for anything else."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        """Takes the pairs of a command line."""
        try:
            super().__call__(parser, *args, **kwargs)
        except (ValueError, AssertionError):
            parser.error(f'{self.option_strings[0]} takes KEY=VALUE pairs, not {args[1]}')
