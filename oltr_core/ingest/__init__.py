"""Ingest: any images in, packed and immutable batches out: sources, records, packing, the draw of a long tail."""
