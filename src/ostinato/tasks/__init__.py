"""The tasks: whole jobs for recurrent networks, a folder each, and the contracts that they fulfil.

base.py      the contracts
registry.py  the tasks by name, those of other packages too
config.py    what the settings of all tasks have in common
examples.py  the batches of a part whose examples are independent of each other
"""
