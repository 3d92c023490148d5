"""Deciding what happens in a study: on a draft in memory, written in one transaction."""
