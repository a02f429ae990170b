"""Summaries of documents of any length: prompts per style, splitting, and the tree of passes."""

from workers.summary.prompts import Prompts, Style
from workers.summary.split import split
from workers.summary.tree import Summary

__all__ = ["Prompts", "Style", "Summary", "split"]
