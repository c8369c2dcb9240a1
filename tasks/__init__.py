"""Tasks touch the world: one outside system per file, and no task imports another."""
