"""PyTorch forms of mmcv's compiled ops, for mmcv without them (mmcv-lite)."""
