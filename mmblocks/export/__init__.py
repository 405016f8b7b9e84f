"""From a detector of mmdet to one file that runs without PyTorch."""
