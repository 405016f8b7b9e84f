"""The stitching example: what other layers in a backbone cost and gain, on the digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from mmblocks.describe.table import cost
from mmblocks.digits.comparison import Result, Run, base_steps, choose, compare, write_table
from mmblocks.digits.training import terminal
from mmblocks.engine import load_config

R18, V2, V3, SHUFFLE = (
    f'retinanet_{net}_fpn_digits'
    for net in ('r18', 'mobilenetv2', 'mobilenetv3-small', 'shufflenetv2')
)
RUNS = (
    Run('ResNet-18', R18, R18),
    Run('AKConv in place of convolutions', 'stitch_akconv-in-place_r18', R18),
    Run('AKConv behind a convolution', 'stitch_akconv-behind_r18', R18),
    Run('AKConv beside the block', 'stitch_akconv-beside_r18', R18),
    Run('Ghost modules in place of convolutions', 'stitch_ghost_r18', R18),
    Run('DCNv2 in place of convolutions', 'stitch_dcnv2_r18', R18),
    Run('MobileNetV2', V2, V2),
    Run('squeeze-and-excitation', 'stitch_se_mobilenetv2', V2),
    Run('CBAM', 'stitch_cbam_mobilenetv2', V2),
    Run('ECA', 'stitch_eca_mobilenetv2', V2),
    Run('ShuffleNetV2', SHUFFLE, SHUFFLE),
    Run('squeeze-and-excitation', 'stitch_se_shufflenetv2', SHUFFLE),
    Run('CBAM', 'stitch_cbam_shufflenetv2', SHUFFLE),
    Run('ECA', 'stitch_eca_shufflenetv2', SHUFFLE),
    Run('MobileNetV3 small', V3, V3),
    Run('Inception depthwise convolutions', 'stitch_inception-dw_mobilenetv3-small', V3),
)


def run_stitch(
    work_dir: Path,
    only: Sequence[str] | None,
    train_scenes: int,
    val_scenes: int,
    epochs: int,
    timed_steps: int,
    retrain: bool,
) -> None:
    """Runs the example and prints its table.

    Args:
        work_dir: Folder for the runs' work folders and the table.
        only: Names of runs; None for all.
        train_scenes: Number of training scenes.
        val_scenes: Number of validation scenes.
        epochs: Number of epochs, within which the learning rate comes down.
        timed_steps: How many steps are timed of each run.
        retrain: Whether to train anew in any case.
    """
    options = {
        'train_cfg.max_epochs': epochs,
        'param_scheduler.1.end': epochs,
        'param_scheduler.1.T_max': epochs,
    }
    configs = {
        run: load_config(f'mmblocks::digits/{run.name}.py', options) for run in choose(RUNS, only)
    }
    console = terminal()
    scenes = (train_scenes, val_scenes)
    results = compare(configs, work_dir, scenes, timed_steps, retrain, console)
    write_table(rows(results, configs), work_dir / 'table.md', console)


def rows(results: Mapping[Run, Result], configs: Mapping[Run, Config]) -> list[tuple[str, ...]]:
    """Returns the rows of the table, the header first.

    Args:
        results: Results of the runs, the plain nets among them.
        configs: The config of each run.
    """
    table: list[tuple[str, ...]] = [('net', 'mAP', 'mAP50', 'parameters', 'MACs', 'step time')]
    bases = base_steps(results)
    for run, (scores, step) in results.items():
        costs = cost(configs[run].model.backbone.to_dict(), image_size=160)
        table.append(
            (
                run.title if run.name == run.base else f'+ {run.title}',
                f'{scores["mAP"]:.3f}',
                f'{scores["mAP50"]:.3f}',
                f'{costs.parameters / 1e6:.2f} M',
                f'{costs.macs / 1e6:.0f} M',
                f'{step.seconds / bases[run].seconds:.2f}',
            )
        )
    return table
