"""Writing a graph as an ONNX file."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from mmblocks.export.translations import translations
from mmblocks.utils.errors import UserError, first_line

OPSET = 18


def need_onnx() -> None:
    """Raises unless the packages that write and run ONNX files are installed.

    Raises:
        UserError: Names the one that is missing and what brings it.
    """
    for name in ('onnx', 'onnxscript', 'onnxruntime'):
        try:
            import_module(name)
        except ImportError as error:
            raise UserError(f"{name} is missing: pip install 'mmblocks[export]'") from error


def to_onnx(program: torch.export.ExportedProgram, outputs: Sequence[str]) -> Any:
    """Returns a graph in ONNX.

    Args:
        program: The graph; its only input becomes ``images``.
        outputs: Names of its outputs.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        UserError: ONNX does not have one of its ops.
    """
    try:
        with _quietly():
            written = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=['images'],
                output_names=list(outputs),
                custom_translation_table=translations(),
            )
    except Exception as error:
        raise UserError(f'the detector has no form in ONNX: {_reason(error)}') from error
    assert written is not None  # it would write a file itself only with a path
    return written.model_proto


def for_each_image(model: Any, outputs: Sequence[str]) -> Any:
    """Returns a model that runs another one on every image of a batch.

    Args:
        model: A model for one image, (1, 3, H, W), whose outputs have one row each.
        outputs: Names of its outputs.

    Returns:
        The model for (N, 3, H, W), with N rows in its outputs: ONNX's Scan, whose body the other
        one is.
    """
    from onnx import TensorProto, compose, helper

    # No name of a body may be one of those around it.
    body = compose.add_prefix_graph(model.graph, 'one_')
    (given,), rows = list(body.input), list(body.output)
    kind, shape = _kind_and_shape(given)
    body.initializer.append(helper.make_tensor('first', TensorProto.INT64, [1], [0]))
    body.node.insert(0, helper.make_node('Unsqueeze', ['image', 'first'], [given.name]))
    del body.input[:], body.output[:]
    body.input.append(helper.make_tensor_value_info('image', kind, shape[1:]))
    wholes = []
    for name, row in zip(outputs, rows, strict=True):
        kind, row_shape = _kind_and_shape(row)
        body.node.append(helper.make_node('Squeeze', [row.name, 'first'], [f'row_{name}']))
        body.output.append(helper.make_tensor_value_info(f'row_{name}', kind, row_shape[1:]))
        wholes.append(helper.make_tensor_value_info(name, kind, ['batch', *row_shape[1:]]))
    scan = helper.make_node('Scan', ['images'], list(outputs), num_scan_inputs=1, body=body)
    images = helper.make_tensor_value_info('images', TensorProto.FLOAT, ['batch', *shape[1:]])
    return helper.make_model(
        helper.make_graph([scan], 'batch', [images], wholes),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        functions=list(model.functions),
    )


def _kind_and_shape(value: Any) -> tuple[int, list[int | str]]:
    tensor = value.type.tensor_type
    return tensor.elem_type, [dim.dim_value or dim.dim_param for dim in tensor.shape.dim]


def save_onnx(model: Any, path: Path, about: Mapping[str, Any]) -> None:
    """Writes a model with what its users want to know.

    Args:
        model: An ``onnx.ModelProto``.
        path: The file.
        about: Names and values, which are written as JSON.
    """
    import onnx
    from onnx import helper

    helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    onnx.save(model, str(path))


def _reason(error: BaseException) -> str:
    """The line of torch's message, or of one that it came from, that names the op."""
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if 'No ONNX function found' in line or '<class' in line]
    return (named or [first_line(error)])[-1]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch says about itself while it writes."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
