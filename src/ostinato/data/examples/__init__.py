"""Examples that stand each for itself: labelled texts and sentence pairs, as ids, in parts."""
