"""Tasks have the effects: one outside system per file or folder, and no task imports another."""
