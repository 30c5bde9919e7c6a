"""Judges: language models that read a response and answer a rubric's questions about it."""
