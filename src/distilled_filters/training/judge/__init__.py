"""After training: a language model settles, blind, where student and oracle differ most."""
