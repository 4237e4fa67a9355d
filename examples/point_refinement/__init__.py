"""PointRend on torchsample: a coarse segmentation, made sharp at the points where it is uncertain."""
