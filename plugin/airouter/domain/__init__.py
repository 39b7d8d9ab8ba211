"""Frozen values and pure rules. Imports nothing but the standard library and numpy."""
