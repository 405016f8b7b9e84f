"""Say what is installed and what is wrong with it: ``python tools/doctor.py``."""

from mmblocks.cli.doctor import main

if __name__ == '__main__':
    main()
