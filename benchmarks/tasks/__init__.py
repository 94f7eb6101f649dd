"""What else is measured: each module is a program that does one thing in a fresh process and times it."""
