"""``python -m mmblocks`` is the command ``mmblocks``."""

from mmblocks.cli.main import main

if __name__ == '__main__':
    main()
