"""Operating a trained network: learning from annotations, rejecting images as unknown, choosing images to ask about.

Stages and benchmarks use these functions, so that a benchmark computes what the loop would.
"""
