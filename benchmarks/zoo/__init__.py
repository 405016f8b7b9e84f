"""Every config of mmdet's zoo, cut small, through a training step and a prediction.

`python -m benchmarks.zoo` runs it and writes docs/mmdet_zoo.md.
"""
