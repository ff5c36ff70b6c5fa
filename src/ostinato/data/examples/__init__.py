"""Independent examples: labelled texts and sentence pairs as ids, and their parts."""
