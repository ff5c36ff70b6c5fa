"""The commands, a file each: parse, check, call, print. Each says with `command()` what Click runs."""
