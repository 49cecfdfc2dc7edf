"""Benchmarks: `./run bench NAME`. They print tables and assert nothing."""
