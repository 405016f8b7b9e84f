"""Testing in the inference form."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mmblocks.inference import to_inference
from mmblocks.utils.model_wrapper import unwrap_model


@HOOKS.register_module()
class ToInferenceHook(Hook):
    """Tests a model in its inference form, which gives the same in less time.

    The model itself is there again afterwards. ``mmblocks test --fast`` adds the hook.

    Example:
        >>> custom_hooks = [dict(type='mmblocks.ToInferenceHook')]
    """

    # Behind the hooks that put other weights into the model, such as EMAHook.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._model: nn.Module | None = None

    def before_test_epoch(self, runner: Runner) -> None:
        """Puts the inference form in the model's place; each process has its own."""
        self._model = runner.model
        runner.model = to_inference(unwrap_model(runner.model))

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Puts the model back."""
        assert self._model is not None
        runner.model, self._model = self._model, None
