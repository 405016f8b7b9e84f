"""The progress of a training, for a person: a line an epoch, and a bar on a terminal."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmblocks.digits.history import bbox_scores


class ProgressHook(Hook):
    """Prints how far a training by epochs is; nothing of it goes to MMEngine's logs.

    Args:
        console: Where to print.
    """

    priority = 'VERY_LOW'  # after the hooks that measure

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn('epoch'),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn('{task.fields[loss]}'),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,  # what others print stays where their caller sends it
            disable=not console.is_terminal,
        )
        self.losses: list[float] = []
        self.line = ''

    def before_train(self, runner: Runner) -> None:
        """Starts the bar where the training starts."""
        self.task = self.bar.add_task('', total=runner.max_epochs, completed=runner.epoch, loss='')
        self.bar.start()

    def before_train_epoch(self, runner: Runner) -> None:
        """Prints the line of an epoch that no evaluation followed."""
        self._print_line()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Notes the loss and moves the bar."""
        self.losses.append(float(outputs['loss'].detach()))
        done = runner.epoch + (batch_idx + 1) / len(runner.train_dataloader)
        self.bar.update(self.task, completed=done, loss=f'loss {self.losses[-1]:.3f}')

    def after_train_epoch(self, runner: Runner) -> None:
        """Notes the epoch's mean loss."""
        loss = sum(self.losses) / len(self.losses)
        self.losses.clear()
        self.line = f'epoch {runner.epoch + 1:>2} of {runner.max_epochs}   loss {loss:.3f}'

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Prints the line of an epoch with its evaluation."""
        scores = bbox_scores(metrics or {})
        found = [f'{name} {score:.3f}' for name, score in scores.items()]
        self.line += '   ' + ('   '.join(found) or 'nothing found yet')
        self._print_line()

    def after_train(self, runner: Runner) -> None:
        """Prints the line of a last epoch without evaluation and takes the bar away."""
        self._print_line()
        self.bar.stop()

    def _print_line(self) -> None:
        if self.line:
            self.console.print(self.line, highlight=False)
        self.line = ''
