"""Decoding: token ids in, token ids out. Knows no HTTP, queue, database or environment.

This file imports nothing, so that processes that must not load torch can use the modules that do without it:
``engine.request``, ``engine.seeds``, ``engine.errors``.
"""
