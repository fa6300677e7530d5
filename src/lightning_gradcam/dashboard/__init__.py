"""The Attention tab of TensorBoard."""
