"""What a model needs: weights, KV cache, the slide rule, and the estimate that sums them."""
