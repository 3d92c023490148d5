"""Problems whose answers are known or quickly found, for examples, tests and benchmarks; nothing is downloaded."""
