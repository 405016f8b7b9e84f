"""Reading the own data, in whichever form it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmblocks.own_data.split import Split, check_types, read_coco
from mmblocks.own_data.voc import is_voc, read_voc
from mmblocks.own_data.yolo import folders, read_yolo
from mmblocks.utils.errors import UserError

FORMS = (
    'accepted are COCO (annotations.json images/), Pascal VOC (a folder with Annotations and '
    'JPEGImages, then perhaps the name of a list of ImageSets/Main) and YOLO (a folder with images '
    'and labels)'
)


def read_split(name: str, paths: Sequence[str], classes: Sequence[str] | None = None) -> Split:
    """Reads the images and annotations of one split.

    Args:
        name: ``'train'`` or ``'val'``.
        paths: An annotation file and a folder of images; or a folder of Pascal VOC, perhaps
            followed by the name of a list in it; or a folder of YOLO.
        classes: The names of the classes, for VOC and YOLO.

    Raises:
        UserError: They cannot be read.
    """
    first, *others = paths
    path = Path(first).expanduser()
    if len(others) > 1:
        raise UserError(f'--{name} takes one or two paths, not {len(paths)}; {FORMS}')
    if not path.exists():
        raise UserError(f'--{name}: there is no {first}')
    if path.suffix in ('.yaml', '.yml'):
        raise UserError(f'--{name} {first}: name the folder of images that it lists, not the file')
    if path.is_file():
        if not others:
            raise UserError(f'--{name} {first}: name the folder of its images behind it')
        if classes is not None:
            raise UserError('--classes is for VOC and YOLO; a COCO file names its categories')
        return read_coco(name, path, Path(others[0]).expanduser())
    if is_voc(path):
        split = read_voc(name, path, others[0] if others else None, classes)
    elif folders(path) is not None and not others:
        split = read_yolo(name, path, classes)
    else:
        raise UserError(f'--{name} {" ".join(paths)}: not known what that is; {FORMS}')
    check_types(split.content, split.source)
    return split
