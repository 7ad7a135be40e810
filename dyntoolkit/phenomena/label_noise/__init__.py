"""Label noise: how fresh noise on the labels changes what a network learns."""
