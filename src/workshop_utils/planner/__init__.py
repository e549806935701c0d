"""How to split a model: layouts, which fit, and why the others do not."""
