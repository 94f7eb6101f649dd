"""The ways to extract features that are measured: each module is a program, as a user would write it."""
