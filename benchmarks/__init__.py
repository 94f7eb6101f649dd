"""The benchmark: this project beside the ways a user would take instead, on the same images and weights.

    make bench-quick        the main table, in five minutes
    make bench              everything

Each way is a program of its own (`benchmarks.ways`), run in a fresh process, in turn, over several
rounds. What is reported are medians, and ratios taken within each round. Never part of the distribution.
"""
