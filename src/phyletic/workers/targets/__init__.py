"""What ``apply`` sets values in, one file per family; each is recognised without importing its library."""
