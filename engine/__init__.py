"""Decoding: token ids in, token ids out. Knows no HTTP, queue, database or environment.

This file imports nothing, so that the torch-free modules (``engine.request``, ``engine.seeds``, ``engine.errors``) can be
used by processes that must not load torch.
"""
