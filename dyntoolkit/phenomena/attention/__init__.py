"""What attention learns: one step of gradient descent, noise, composition, and when it collapses."""
