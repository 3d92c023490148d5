"""The study's database: tables, what is written to them and read from them, and who may write.

Import from its modules: they need SQLAlchemy, which is slow to import, so nothing is imported here.
"""
