"""The study's database: tables, what is written to them and read from them, and who may write.

Importing this needs SQLAlchemy, which is slow to import: do so only to open a study.
"""

from phyletic.storage.database import Database, open_database

__all__ = ["Database", "open_database"]
