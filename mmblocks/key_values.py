"""Options of a net on the command line of a tool."""

from __future__ import annotations

import argparse
from typing import Any

from mmengine.config import DictAction


class KeyValues(DictAction):
    """MMEngine's ``KEY=VALUE`` pairs, with an error instead of a traceback for anything else."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        """Takes the pairs of a command line."""
        flag, pairs = self.option_strings[0], args[1]
        if any('dict(' in pair or '={' in pair for pair in pairs):
            parser.error(f'{flag} takes no dicts: write KEY.a=1 for KEY=dict(a=1), not {pairs}')
        try:
            super().__call__(parser, *args, **kwargs)
        # MMEngine looks for the end of a bracket that does not close again and again.
        except (ValueError, AssertionError, RecursionError):
            parser.error(f'{flag} takes KEY=VALUE pairs, not {pairs}')
