"""What `scripts/bench` measures: one module for each group of figures, each with a function `measure`."""
