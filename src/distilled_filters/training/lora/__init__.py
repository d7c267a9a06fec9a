"""LoRA experts: an adapter and a head on a decoder language model, one filter each."""
