"""`python -m workers.device` with the echo engine in place of the real one."""

import sys
from pathlib import Path

from workers.device.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], engine=(sys.executable, str(Path(__file__).with_name("echo_engine.py")))))
