"""Recurrences: the state that each carries from step to step."""
