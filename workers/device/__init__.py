"""One device: the supervisor that keeps an engine process and two Celery nodes running. Loads no torch itself."""
