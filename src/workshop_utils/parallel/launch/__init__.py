"""Starting the ranks of a script on one node, watching them, and saying what went wrong."""
