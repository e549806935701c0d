"""Running it: launchers and the data, pipeline and tensor strategies."""
