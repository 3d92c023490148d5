"""``python -m phyletic`` is the command ``phyletic``."""

from phyletic.cli import main

if __name__ == "__main__":
    main(prog_name="phyletic")
