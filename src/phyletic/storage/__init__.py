"""The study's database: tables, what is written to them and read from them, and who may write.

Importing this needs SQLAlchemy, which is slow to import: do so only where a study is opened.
"""

from phyletic.storage.store import Store, open_store

__all__ = ["Store", "open_store"]
