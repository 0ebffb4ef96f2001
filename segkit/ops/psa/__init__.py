"""Parts of point-wise spatial attention: window geometry, the two passes, the composite form."""
