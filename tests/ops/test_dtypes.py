"""Every op of mmcv.ops that mmdet uses runs in every floating dtype, and on nothing at all."""

import pytest
import torch
from torch.testing import assert_close

from tests.ops.cases import CASES, run

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('case', CASES)
def test_results_are_those_of_float64_within_the_rounding(on_forms, case, dtype, device):
    inputs = [value.to(dtype).to(device) for value in CASES[case][1](6)]
    got = run(case, on_forms, inputs)
    expected = run(case, on_forms, [value.double().cpu() for value in inputs])
    assert any(value.count_nonzero() for value in got)
    # mmcv computes the softmax in the dtype itself, and the sums of a plain product too.
    steps = 8 if dtype in (torch.float16, torch.bfloat16) else 64
    for ours, exact in zip(got, expected, strict=True):
        assert ours.dtype in (dtype, torch.int64)
        tolerance = steps * torch.finfo(dtype).eps * max(1.0, float(exact.abs().max()))
        assert_close(ours.double().cpu(), exact.double(), rtol=0, atol=tolerance)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
# mmcv itself refuses to convolve no images; mmblocks' layers do it.
@pytest.mark.parametrize('case', [case for case in CASES if not case.startswith('DCN')])
def test_nothing_gives_nothing(on_forms, case, dtype, device):
    inputs = [value.to(dtype).to(device) for value in CASES[case][1](0)]
    out, *gradients = run(case, on_forms, inputs)
    assert not out.count_nonzero()
    assert not any(value.count_nonzero() for value in gradients)
