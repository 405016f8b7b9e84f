"""What is installed, what runs, and what is wrong with it: what ``mmblocks doctor`` prints.

Nothing here imports more than Python's own library, for it has to work where nothing else does.
"""

from mmblocks.doctor.report import diagnose, run_if_asked

__all__ = ['diagnose', 'run_if_asked']
