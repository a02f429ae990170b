"""Drafters: what proposes tokens for the full network to verify."""
