"""Conformance suites that ship with the package: for algorithms, checkpoint stores and sources of trials."""
