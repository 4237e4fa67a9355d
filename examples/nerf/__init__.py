"""Scenes learnt from photographs: NeRF, a voxel grid and a tri-plane."""
