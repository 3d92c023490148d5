"""The user's view of a study."""
