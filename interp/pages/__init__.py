"""Pages to look at results: one HTML file each, with the parts that several reports share."""
