"""Running trials: the loop, what it loads and saves, what it applies, and local processes."""
