"""Super-resolution at any scale: LIIF, trained and used."""
