"""Articles written by a language model, to fill what real data has too little of."""
