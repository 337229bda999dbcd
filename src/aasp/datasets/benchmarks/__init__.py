"""The benchmarks of the field in their published layouts, by name."""
