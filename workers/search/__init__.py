"""Searches kept in an Optuna study, so that several workers share one and a crash loses one trial at most."""
