"""The engines that run a recurrence over time; `choose` says which one runs a layer, and why."""

from ostinato.engines.choose import ENGINES, Choice, check, choose, may_be_native, warn_without_library

__all__ = ["ENGINES", "Choice", "check", "choose", "may_be_native", "warn_without_library"]
