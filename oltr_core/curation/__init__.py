"""Curation: raw batches and annotations to tables: manifest, split, register, annotations, checks, data card."""
