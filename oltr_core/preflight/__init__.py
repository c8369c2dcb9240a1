"""Before anything is trained: what the images are, which settings do not fit them, how long a training will take."""
