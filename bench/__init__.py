"""Side-by-side measurements. Each module is a command: ``python -m bench.NAME``; results are in ``bench/results``."""
