"""Benchmarks of torchsample against what else samples maps: ``python -m benchmarks --help``."""
