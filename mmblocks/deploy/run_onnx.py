"""Draws what an ONNX file of ``mmblocks export`` detects on an image.

    python run_onnx.py model.onnx image.jpg --out drawn.png

Needs numpy, onnxruntime and pillow, and no other file of mmblocks: copy it to where you need it.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_COLORS = ('#e6194b', '#3cb44b', '#4363d8', '#f58231', '#911eb4', '#008080', '#9a6324', '#808000')


class Detection(NamedTuple):
    """An object on an image.

    Attributes:
        box: Corners (x1, y1, x2, y2) in pixels of the image.
        score: Its score.
        label: Its class.
        mask: Which pixels of the image it covers, (height, width); None if the file gives none.
    """

    box: tuple[float, float, float, float]
    score: float
    label: int
    mask: NDArray[np.bool_] | None


class Detector:
    """A detector in an ONNX file.

    Args:
        path: The file.

    Attributes:
        classes: Names of the classes.
    """

    def __init__(self, path: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise SystemExit('error: onnxruntime is missing: pip install onnxruntime') from error
        self.session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
        about = self.session.get_modelmeta().custom_metadata_map
        if 'size' not in about or json.loads(about['raw']):
            raise SystemExit(f'error: {path} is no detector that `mmblocks export` has written')
        self.about = {name: json.loads(value) for name, value in about.items()}
        self.classes: list[str] = self.about['classes']

    def __call__(self, image: Image.Image, score_thr: float = 0.3) -> list[Detection]:
        """Returns what is on an image, best score first.

        Args:
            image: The image.
            score_thr: The least score.
        """
        pixels, scale = self._fit(image)
        outputs: list[NDArray[Any]] = self.session.run(None, {'images': pixels[None]})
        found = []
        for i, (*box, score) in enumerate(outputs[0][0].tolist()):
            label = int(outputs[1][0, i])
            if label < 0 or score < score_thr:
                continue
            corners = np.clip(np.array(box) / scale, 0, [*image.size, *image.size]).tolist()
            mask = _mask(outputs[2][0, i], image, scale) if len(outputs) > 2 else None
            found.append(Detection(tuple(corners), score, label, mask))
        return found

    def _fit(self, image: Image.Image) -> tuple[NDArray[np.float32], float]:
        """Scales an image into the size of the file; gives its pixels, BGR, and the scale."""
        height, width = self.about['size']
        scale = min(height / image.height, width / image.width)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        scaled = image.convert('RGB').resize(size, Image.Resampling.BILINEAR)
        color = np.array(self.about['pad_color'], np.float32)[:, None, None]
        canvas = np.broadcast_to(color, (3, height, width)).copy()
        canvas[:, : size[1], : size[0]] = np.asarray(scaled, np.float32)[..., ::-1].transpose(
            2, 0, 1
        )
        return canvas, scale


def draw(image: Image.Image, found: list[Detection], classes: list[str]) -> Image.Image:
    """Returns an image with detections on it.

    Args:
        image: The image.
        found: The detections.
        classes: Names of the classes.
    """
    drawn = image.convert('RGB')
    for detection in reversed(found):  # the best on top
        color = _COLORS[detection.label % len(_COLORS)]
        if detection.mask is not None:
            shade = Image.fromarray((detection.mask * 100).astype(np.uint8))
            drawn.paste(Image.new('RGB', drawn.size, color), mask=shade)
        pen = ImageDraw.Draw(drawn)
        pen.rectangle(detection.box, outline=color, width=max(1, min(drawn.size) // 200))
        name = classes[detection.label] if classes else str(detection.label)
        text = f'{name} {detection.score:.2f}'
        x, y = detection.box[0], max(0.0, detection.box[1] - 11)
        pen.rectangle(pen.textbbox((x, y), text), fill=color)
        pen.text((x, y), text, fill='white')
    return drawn


def _mask(mask: NDArray[Any], image: Image.Image, scale: float) -> NDArray[np.bool_]:
    part = mask[: round(image.height * scale), : round(image.width * scale)]
    whole = Image.fromarray(part.astype(np.uint8) * 255).resize(image.size)
    return np.asarray(whole) >= 128


def main() -> None:
    """Detects on an image and writes it with what was found."""
    parser = argparse.ArgumentParser(description='Draw what an ONNX file detects on an image.')
    parser.add_argument('model', help='file of `mmblocks export`')
    parser.add_argument('image', help='image file')
    parser.add_argument('--out', default='drawn.png', help='file to write; default: %(default)s')
    parser.add_argument('--score-thr', type=float, default=0.3, help='default: %(default)s')
    args = parser.parse_args()
    detector = Detector(args.model)
    image = Image.open(args.image)
    found = detector(image, args.score_thr)
    for box, score, label, _ in found:
        name = detector.classes[label] if detector.classes else label
        print(f'{name} {score:.2f} at {[round(x, 1) for x in box]}')
    draw(image, found, detector.classes).save(args.out)
    print(f'{len(found)} detections drawn into {args.out}')


if __name__ == '__main__':
    main()
