"""Events in time: the notes of music."""
