"""The laboratory: a network and data of the reader's own choice, and what is measured of them while it trains."""
