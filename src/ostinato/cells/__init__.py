"""Recurrences: what each remembers from step to step."""
