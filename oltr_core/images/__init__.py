"""Images: decoding, packed shards, data sets of tensors, transforms and augmentation."""
