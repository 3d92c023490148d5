"""The families of targets that ``apply`` knows, one file each, which recognise their objects without an import."""
