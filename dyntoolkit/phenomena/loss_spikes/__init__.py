"""Adam's loss spikes and their relatives: curvature, the edge of stability, exploding attention logits."""
