"""The page docs/mmdet_zoo.md, from the results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks.zoo.inputs import SIZE
from benchmarks.zoo.reasons import NEEDS, reason_for
from benchmarks.zoo.run import Result

PAGE = Path(__file__).parents[2] / 'docs' / 'mmdet_zoo.md'

_HEAD = """\
# mmdet's zoo without compiled ops

Every config of mmdet {mmdet}'s wheel that is for a model, on mmcv-lite {mmcv} with mmblocks'
PyTorch forms of its ops and torch {torch} on a CPU: **{passed} of {total} train and predict**
({percent:.1f} %), and {predict} more predict. {ours}

What was done with each: its backbone is cut to the fewest layers of its kind that keep the channels
(ResNet-50 at most, one block a stage in Swin, HRNet and PVT), proposals, samples and queries are
cut in number, score thresholds are 0 so that an untrained net finds something, and weights are left
out. The rest is the config's: heads, necks, losses, assigners, deformable convolutions. Then
`train_step` runs once on two generated images of {size} x {size} pixels (two videos of two frames
for the trackers, the config's own size for SSD), with an optimizer's step and a finite loss, and
`test_step` once. SyncBN runs as BN. In place of BERT stands a random one of two layers. Configs
that are the same after the cut are run once: {models} models.

| folder | configs | train and predict | only predict | needs beside mmdet |
|---|--:|--:|--:|---|
"""

_AGAIN = """
## Run it again

```
make setup peers
.venv/bin/python -m pip install --no-deps --target .peers/zoo -r requirements/zoo.txt
.venv/bin/python -m benchmarks.zoo                            # all; goes on where it was stopped
.venv/bin/python -m benchmarks.zoo --only 'retinanet|atss'    # those whose path has this pattern
.venv/bin/python -m benchmarks.zoo --again                    # those that have failed, too
```

It takes about an hour on one core and writes this page.
"""


def write_page(results: Iterable[Result]) -> None:
    """Writes the page.

    Args:
        results: One for every config.
    """
    results = sorted(results)
    text = '\n'.join((_head(results) + '\n'.join(_table(results)), *_failures(results)))
    PAGE.write_text(text + _AGAIN)


def _head(results: list[Result]) -> str:
    passed = sum(not any(result.outcome) for result in results)
    ours = [result for result in results if _is_ours(result)]
    said = 'What fails here fails on the compiled ops, too.'
    if ours:
        said = f'{len(ours)} of the others get further on the compiled ops.'
    return _HEAD.format(
        mmdet=version('mmdet'),
        mmcv=version('mmcv-lite'),
        torch=version('torch').partition('+')[0],
        passed=passed,
        total=len(results),
        percent=100 * passed / len(results),
        predict=sum(map(_only_predicts, results)),
        ours=said,
        size=SIZE,
        models=len({result.model for result in results if result.model}),
    )


def _is_ours(result: Result) -> bool:
    """Whether a step fails that the compiled ops get through."""
    if result.compiled is None:
        return False
    pairs = zip(result.outcome, result.compiled, strict=True)
    return any(here and not there for here, there in pairs)


def _only_predicts(result: Result) -> bool:
    return bool(result.outcome.train) and not result.outcome.predict


def _table(results: list[Result]) -> Iterator[str]:
    folders = Counter(result.config.split('/')[0] for result in results)
    passed = Counter(r.config.split('/')[0] for r in results if not any(r.outcome))
    for folder, count in folders.items():
        more = sum(_only_predicts(r) for r in results if r.config.startswith(f'{folder}/'))
        yield f'| {folder} | {count} | {passed[folder]} | {more} | {NEEDS.get(folder, "")} |'


def _failures(results: list[Result]) -> Iterator[str]:
    """Returns the part on what fails: each reason, and the configs that it stops."""
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        if any(result.outcome):
            groups[reason_for(result), _what_fails(result)].append(result)
    yield '\n## What does not, and why\n'
    for (reason, what), failed in sorted(groups.items(), key=lambda item: -len(item[1])):
        yield f'**{what}, {len(failed)} {"config" if len(failed) == 1 else "configs"}.** {reason}\n'
        yield from (f'- `{result.config}`' for result in failed)
        yield ''


def _what_fails(result: Result) -> str:
    steps = {'build': 'Not built', 'train': 'No training step', 'predict': 'No prediction'}
    failed = [steps[step] for step, error in result.outcome._asdict().items() if error]
    return ', '.join([failed[0], *(text[0].lower() + text[1:] for text in failed[1:])])
