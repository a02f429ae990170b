"""The local stack: the real Postgres, Redis and Skim's own processes, started and supervised for one user."""
