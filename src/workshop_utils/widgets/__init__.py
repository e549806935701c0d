"""What a notebook shows and lets one move."""
