"""Operating a trained network: how it learns from annotations, when it says "unknown", which images it asks about.

Stages and benchmarks stand on these functions, so that a benchmark computes what the loop would.
"""
