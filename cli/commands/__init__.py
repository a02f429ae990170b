"""The commands of `skim`, a file a topic."""
