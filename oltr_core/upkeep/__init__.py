"""Upkeep of a workspace: images forgotten on request, unreferenced files, whether an image was seen in training."""
