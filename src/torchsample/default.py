"""The defaults that every signature of the library repeats, to be read and not to be set.

Functions state their defaults in their own signatures; changing the values here changes nothing else.

Attributes
----------
align_corners : bool
    ``False``: ``[-1, 1]`` runs from the outer edge of the first pixel to the outer edge of the last one.
padding_mode : str
    ``"border"``: outside of the map, the nearest edge pixel counts.
"""

from typing import Final

__all__ = ["align_corners", "padding_mode"]

align_corners: Final = False
padding_mode: Final = "border"
