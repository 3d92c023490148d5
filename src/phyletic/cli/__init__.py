"""The command ``phyletic``. A command's file is imported when the command is used, so that ``--help`` is quick."""

from phyletic.cli.group import CommandGroup, main

__all__ = ["CommandGroup", "main"]
