"""MMEngine's report of the environment, at the start of every log."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import PurePath


def report_no_missing_compiler() -> None:
    """Keeps the shell from complaining where the machine has no compiler.

    MMEngine asks the compiler that Python was built with for its version. Where that command fails,
    it reports 'n/a'; where there is no such command, the shell's complaint reaches the terminal.

    Example:
        >>> report_no_missing_compiler()
    """
    compiler = sysconfig.get_config_var('CC')
    if compiler and shutil.which(PurePath(compiler.split()[0]).name) is None:
        sysconfig.get_config_vars()['CC'] = 'false'
