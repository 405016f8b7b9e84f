"""onnx, onnxscript and onnxruntime come from the folder of peers where they are not installed."""

import pytest


@pytest.fixture(scope='session', autouse=True)
def _onnx(peer):
    return peer('onnxruntime')
