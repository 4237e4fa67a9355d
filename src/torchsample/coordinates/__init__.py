"""Make coordinates and convert them; users meet these functions as ``ts.coord``."""
