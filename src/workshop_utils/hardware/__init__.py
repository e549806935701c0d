"""What a GPU is: the catalogue, and what is in this machine."""
