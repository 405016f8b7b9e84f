"""The stitching example: what other layers in a backbone cost and gain, on the digits."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from rich.table import Table

from mmblocks.demo import evaluate, prepare_data, quiet, terminal, train
from mmblocks.describe.table import cost
from mmblocks.engine import UserError, command, load_config
from mmblocks.transfer import add_timed_steps, measure_steps
from mmblocks.utils.errors import did_you_mean, tool_parser
from mmblocks.visualization import bbox_scores


class Run(NamedTuple):
    """A config of the example.

    Attributes:
        title: What is stitched, in words.
        config: Its name in ``configs/digits``.
        plain: The net that it is compared with: the name of its config.
    """

    title: str
    config: str
    plain: str


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


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(
        'Train nets on the digits with other layers stitched in, and compare them with '
        'the plain nets. Run again, it reuses what is there.'
    )
    parser.add_argument('--work-dir', default='work_dirs/stitch')
    parser.add_argument(
        '--only', nargs='+', metavar='CONFIG', help=f'of {", ".join(run.config for run in RUNS)}'
    )
    parser.add_argument('--train-scenes', type=int, default=600, metavar='N')
    parser.add_argument('--val-scenes', type=int, default=200, metavar='N')
    parser.add_argument('--epochs', type=int, default=6, metavar='N', help='default: %(default)s')
    add_timed_steps(parser)
    parser.add_argument('--retrain', action='store_true', help='train anew')
    return parser.parse_args()


@command
def main() -> None:
    """Runs the example and prints its table."""
    args = parse_args()
    console = terminal()
    work_dir = Path(args.work_dir)
    # The learning rate comes down within them.
    options = {
        'train_cfg.max_epochs': args.epochs,
        'param_scheduler.1.end': args.epochs,
        'param_scheduler.1.T_max': args.epochs,
    }
    configs = {
        run: load_config(f'mmblocks::digits/{run.config}.py', options) for run in choose(args.only)
    }
    scores = {}
    for run, cfg in configs.items():
        console.rule(f'{run.title} ({run.config})')
        data_root = prepare_data(cfg, args.train_scenes, args.val_scenes, console)
        train(cfg, work_dir / run.config, data_root, args.retrain, console)
        scores[run] = bbox_scores(evaluate(cfg, work_dir / run.config, console))
        if not scores[run]:
            raise UserError(f'{run.config} detected nothing; give it more epochs')
    console.rule()
    with quiet():
        steps = measure_steps(configs, work_dir / 'steps', args.timed_steps)
    table = rows(scores, {run: step.seconds for run, step in steps.items()}, configs)
    header, *body = table
    shown = Table(*header)
    for row in body:
        shown.add_row(*row)
    console.print(shown)
    path = work_dir / 'table.md'
    path.write_text(markdown(table))
    console.print(f'The same in Markdown: {path}')


def choose(only: list[str] | None) -> list[Run]:
    """Returns the runs of these configs, each with the plain net that it is compared with.

    Args:
        only: Names of configs; None for all.

    Raises:
        UserError: There is no such run.

    Example:
        >>> [run.config for run in choose(['stitch_ghost_r18'])]
        ['retinanet_r18_fpn_digits', 'stitch_ghost_r18']
    """
    if only is None:
        return list(RUNS)
    known = {run.config: run for run in RUNS}
    if unknown := [name for name in only if name not in known]:
        raise UserError(f'--only {unknown[0]}: no such run{did_you_mean(unknown[0], known)}')
    wanted = {name for config in only for name in (config, known[config].plain)}
    return [run for run in RUNS if run.config in wanted]


def rows(
    scores: dict[Run, dict[str, float]], seconds: dict[Run, float], configs: dict[Run, Config]
) -> list[tuple[str, ...]]:
    """Lays out the table, the header first.

    Args:
        scores: mAP and mAP50 by run.
        seconds: Time of a training step by run.
        configs: The config of each run.
    """
    table = [('net', 'mAP', 'mAP50', 'parameters', 'MACs', 'step time')]
    by_config = {run.config: run for run in scores}
    for run, score in scores.items():
        plain = by_config[run.plain]
        costs = cost(configs[run].model.backbone.to_dict(), image_size=160)
        table.append(
            (
                run.title if run is plain else f'+ {run.title}',
                f'{score["mAP"]:.3f}',
                f'{score["mAP50"]:.3f}',
                f'{costs.parameters / 1e6:.2f} M',
                f'{costs.macs / 1e6:.0f} M',
                f'{seconds[run] / seconds[plain]:.2f}',
            )
        )
    return table


def markdown(table: list[tuple[str, ...]]) -> str:
    """Writes the table in Markdown."""
    header, *body = (f'| {" | ".join(row)} |' for row in table)
    return '\n'.join([header, '|---|--:|--:|--:|--:|--:|', *body]) + '\n'
