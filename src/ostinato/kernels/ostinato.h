/* ostinato's native engine for C, and for every language that calls C.
 *
 * A layer is made from weights, runs any number of sequences, and is destroyed. Its state is the caller's: a long
 * sequence may come in pieces, and one layer may serve many sequences. Any number of threads may run one layer at the
 * same time. The library needs neither Python nor TensorFlow; docs/c-interface.md has a complete program.
 *
 * Arrays are float32, row after row, with the batch first. Weights are Keras': get_weights() of a SimpleRNN, GRU or LSTM.
 *
 * A function that can fail returns a status, OSTINATO_OK when it did not; ostinato_error() then says why. No function
 * throws, aborts or prints.
 */
#ifndef OSTINATO_H
#define OSTINATO_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define OSTINATO_EXPORT
#else
#define OSTINATO_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  OSTINATO_OK = 0,
  OSTINATO_INVALID_ARGUMENT = 1,
  OSTINATO_OUT_OF_MEMORY = 2
} ostinato_status;

/* What a layer computes. Begin with OSTINATO_OPTIONS, and set `cell`, `features` and `units`. */
typedef struct {
  size_t size;             /* sizeof(ostinato_options): programs built with this header run with later libraries */
  const char* cell;        /* "rnn", "gru" or "lstm" */
  int64_t features;        /* numbers of an input at one step */
  int64_t units;           /* width of the hidden state */
  const char* activation;  /* "tanh", "relu", "linear", "sigmoid", "hard_sigmoid" (Keras 3's), "keras2_hard_sigmoid",
                              "softsign", "elu", "selu" or "silu" (swish) */
  int reset_after;         /* of the GRU: whether the reset gate acts after the recurrent product, as in Keras */
  int go_backwards;        /* whether sequences are read from their end; outputs are in the order of reading */
  int return_sequences;    /* whether y has every step; else only the last */
  const char* recurrent_activation;  /* of the GRU's and the LSTM's gates, named as `activation`. A program built without
                                        it has the textbook's activations there: tanh, and sigmoid at the gates */
} ostinato_options;

#define OSTINATO_OPTIONS { sizeof(ostinato_options), "lstm", 0, 0, "tanh", 1, 0, 1, "sigmoid" }

typedef struct ostinato_layer ostinato_layer;

/* Makes a layer, which keeps copies of the weights.
 *
 *   kernel     (features, gates * units): 1 gate (RNN), 3 (GRU: z, r, h) or 4 (LSTM: i, f, c, o)
 *   recurrent  (units, gates * units)
 *   bias       (gates * units), or (2, 3 * units) for a GRU with reset_after; NULL without bias
 *   layer      gets the layer, or NULL
 */
OSTINATO_EXPORT ostinato_status ostinato_create(const ostinato_options* options, const float* kernel,
                                                const float* recurrent, const float* bias, ostinato_layer** layer);

/* The number of arrays that the state has: 1 (h), or 2 for the LSTM (h and c). */
OSTINATO_EXPORT int ostinato_state_count(const ostinato_layer* layer);

/* Floats that a row of the batch has in an array of the state: units. */
OSTINATO_EXPORT int64_t ostinato_state_size(const ostinato_layer* layer, int index);

/* Runs a layer over a batch of sequences.
 *
 *   x      (batch, time, features)
 *   mask   (batch, time), 0 where a step is skipped: the state stays, and the output repeats; NULL skips none
 *   state  ostinato_state_count arrays (batch, units): before the first step when called, after the last on return.
 *          A sequence begins with zeros. NULL: sequences begin, and their last state is not wanted
 *   y      gets the outputs: (batch, time, units), or (batch, units) without return_sequences
 */
OSTINATO_EXPORT ostinato_status ostinato_forward(const ostinato_layer* layer, int64_t batch, int64_t time, const float* x,
                                                 const unsigned char* mask, float* const* state, float* y);

/* The same for token ids, for which x would be one-hot: step t of x has a one at ids[t]. The kernel's rows are read instead
 * of multiplied.
 *
 *   ids    (batch, time), from 0 to features - 1; any value where `mask` is 0
 */
OSTINATO_EXPORT ostinato_status ostinato_forward_ids(const ostinato_layer* layer, int64_t batch, int64_t time,
                                                     const int32_t* ids, const unsigned char* mask, float* const* state,
                                                     float* y);

/* Frees a layer; NULL is allowed. No thread may still be running it. */
OSTINATO_EXPORT void ostinato_destroy(ostinato_layer* layer);

/* Why the last call of this thread that failed did; it holds until the next one fails. */
OSTINATO_EXPORT const char* ostinato_error(void);

/* The instruction set that runs: "avx512bf16", "avx512", "avx2", "sse2", "neon" or "portable". */
OSTINATO_EXPORT const char* ostinato_instruction_set(void);

/* How many threads a call may use. By default the environment variable OSTINATO_THREADS, else the processors that the
 * process may use. Results do not depend on it. */
OSTINATO_EXPORT int ostinato_threads(void);
OSTINATO_EXPORT void ostinato_set_threads(int count);

#ifdef __cplusplus
}
#endif

#endif
