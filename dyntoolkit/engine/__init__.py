"""The engine: many independent runs as one tensor with a leading run axis R. It knows no phenomenon."""
