"""What happened: measurements with units and provenance."""
