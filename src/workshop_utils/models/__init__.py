"""What a model is: its architecture as pure data, exact parameter counts, the small real model."""
