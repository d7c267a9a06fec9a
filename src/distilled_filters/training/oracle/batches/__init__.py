"""Asking by a provider's batches: an answer within a day, at half the price.

`ask` is the loop, the same for all providers; `provider` says what it needs of one, and each
provider has a module of its own that speaks its protocol.
"""
