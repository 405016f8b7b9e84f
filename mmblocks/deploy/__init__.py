"""What runs exported detectors elsewhere: files to copy, without mmblocks, mmdet or PyTorch."""
