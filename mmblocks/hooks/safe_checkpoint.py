"""Saving checkpoints so that there is a whole one at any time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmblocks.utils.errors import UserError
from mmblocks.weights.saving import remove_parts, whole_file

_BACKEND = 'mmblocks.whole_files'


class WholeFiles(LocalBackend):
    """MMEngine's local files, but replaced at once, and kept when they are to be removed.

    Attributes:
        removed: The files and folders that were to be removed; they are still there.
    """

    def __init__(self) -> None:
        self.removed: list[str] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes a file; it appears when it is whole."""
        with whole_file(Path(filepath), len(obj)) as part:
            part.write_bytes(obj)

    def remove(self, filepath: str | Path) -> None:
        """Notes that a file is not needed any more."""
        self.removed.append(str(filepath))

    def rmtree(self, dir_path: str | Path) -> None:
        """Notes that a folder is not needed any more."""
        self.removed.append(str(dir_path))


register_backend(_BACKEND, WholeFiles, force=True)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, but a kill or a full disk leaves the checkpoint before it.

    A checkpoint is written under another name in the same folder, moved to its own when it is
    whole, and only then is the one removed that ``max_keep_ckpts`` or ``save_best`` does without.
    Only files in the folder of the checkpoints are removed, whatever names a resumed one brings.
    Checkpoints that are not local files are saved as ever. ``tools/train.py`` puts it in the
    place of MMEngine's.

    Args:
        **options: As for MMEngine's ``CheckpointHook``.

    Raises:
        UserError: A checkpoint cannot be written.

    Example:
        >>> hook = SafeCheckpointHook(interval=1, max_keep_ckpts=1, save_best='auto')
    """

    def before_train(self, runner: Runner) -> None:
        """Prepares the folder, and removes what a killed process left in it."""
        where = self.out_dir or runner.work_dir
        if self.file_client_args is None:
            backend = get_file_backend(where, backend_args=self.backend_args)
            if type(backend) is LocalBackend:
                self.backend_args = {'backend': _BACKEND}
        super().before_train(runner)
        if isinstance(self.file_backend, WholeFiles) and is_main_process():
            remove_parts(Path(self.out_dir))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        except OSError as error:  # writing the checkpoint itself raises UserError
            pointer = Path(runner.work_dir, 'last_checkpoint')
            raise UserError(f'{pointer} cannot be written: {error.strerror or error}') from error
        self._remove_old()

    def _save_best_checkpoint(self, runner: Runner, metrics: Mapping[str, Any]) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._remove_old()

    def _remove_old(self) -> None:
        """Removes what was to be removed before the new checkpoint was saved."""
        if not isinstance(self.file_backend, WholeFiles):
            return
        best = getattr(self, 'best_ckpt_path_dict', {'': getattr(self, 'best_ckpt_path', None)})
        kept = {_place(name) for name in (self.last_ckpt, *best.values()) if name}
        for file in map(_place, self.file_backend.removed):
            if file in kept or file.parent != Path(self.out_dir).resolve():
                continue
            if file.is_dir():  # a sharded one
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)
        self.file_backend.removed.clear()


def _place(name: str) -> Path:
    """The path of a file through folders that are no links; the file itself may be one."""
    return Path(name).parent.resolve() / Path(name).name
