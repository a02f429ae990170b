"""`python -m workers.device` with the echo engine in place of the real one."""

import sys

from workers.device.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], engine="tests.acceptance.workers.echo_engine"))
