"""LoRA experts: an adapter and a head on a decoder language model, for one filter or several."""
