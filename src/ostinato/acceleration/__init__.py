"""Other people's Keras models on ostinato's layers: made, compared, timed, and made stock Keras again."""
