"""Makes this folder's helpers (``tiny``) importable from the folders below it."""
