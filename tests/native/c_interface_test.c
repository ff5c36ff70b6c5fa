/* The C interface, from C alone. Without arguments it checks itself: pieces of a sequence against the whole, several
 * threads at once, refusals. With arguments it runs one layer on the floats that it reads from standard input and writes
 * y and the state to standard output:
 *
 *   c_interface_test CELL ACTIVATION RECURRENT_ACTIVATION RESET_AFTER GO_BACKWARDS RETURN_SEQUENCES FEATURES UNITS BIAS BATCH TIME MASKED
 */
#include "ostinato.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(int condition, const char *what) {
  if (condition) return;
  ++failures;
  printf("failed: %s\n", what);
}

static int64_t gates_of(const char *cell) { return !strcmp(cell, "lstm") ? 4 : !strcmp(cell, "gru") ? 3 : 1; }

static float *floats(int64_t count) { return calloc((size_t)(count > 0 ? count : 1), sizeof(float)); }

static float *drawn(int64_t count) {
  static uint32_t seed = 1;
  float *values = floats(count);
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    values[i] = (float)(seed >> 8) / 16777216.0f - 0.5f;
  }
  return values;
}

static ostinato_layer *made(const ostinato_options *options, int with_bias) {
  const int64_t width = gates_of(options->cell) * options->units;
  const int rows = !strcmp(options->cell, "gru") && options->reset_after ? 2 : 1;
  float *kernel = drawn(options->features * width), *recurrent = drawn(options->units * width);
  float *bias = drawn(rows * width);
  ostinato_layer *layer = NULL;
  expect(ostinato_create(options, kernel, recurrent, with_bias ? bias : NULL, &layer) == OSTINATO_OK, ostinato_error());
  free(kernel), free(recurrent), free(bias); /* the layer has copies */
  return layer;
}

enum { BATCH = 3, TIME = 11, CALLERS = 4 };

typedef struct {
  const ostinato_layer *layer;
  int64_t features, units;
  const float *x;
  const unsigned char *mask;
  float *y, *state[2];
  ostinato_status status;
} Call;

static Call call_of(const ostinato_layer *layer, const ostinato_options *options, const float *x, const unsigned char *mask) {
  Call call = {layer, options->features, options->units, x, mask, floats(BATCH * TIME * options->units), {NULL, NULL}, OSTINATO_OK};
  for (int i = 0; i < ostinato_state_count(layer); ++i) call.state[i] = floats(BATCH * ostinato_state_size(layer, i));
  return call;
}

static void free_call(Call *call) { free(call->y), free(call->state[0]), free(call->state[1]); }

static void *run(void *given) {
  Call *call = given;
  call->status = ostinato_forward(call->layer, BATCH, TIME, call->x, call->mask, call->state, call->y);
  return NULL;
}

static int same(const Call *a, const Call *b) {
  const size_t bytes = sizeof(float) * (size_t)(BATCH * a->units);
  return !memcmp(a->y, b->y, bytes * TIME) && !memcmp(a->state[0], b->state[0], bytes) &&
         (a->state[1] == NULL || !memcmp(a->state[1], b->state[1], bytes));
}

/* The same, a step at a time: every row's piece is contiguous only for one step of one row. */
static void run_in_pieces(Call *call) {
  for (int b = 0; b < BATCH; ++b) {
    float *state[2] = {call->state[0] + b * call->units, call->state[1] == NULL ? NULL : call->state[1] + b * call->units};
    for (int t = 0; t < TIME; ++t) {
      const int at = b * TIME + t;
      float *y = call->y + at * call->units;
      if (t > 0) memcpy(y, y - call->units, sizeof(float) * (size_t)call->units); /* what a skipped step repeats */
      if (call->mask != NULL && !call->mask[at]) continue;
      call->status = ostinato_forward(call->layer, 1, 1, call->x + at * call->features, NULL, state, y);
    }
  }
}

static void check(const char *cell, int reset_after, const char *activation, const char *recurrent_activation, int64_t units,
                  int with_bias, int masked) {
  ostinato_options options = OSTINATO_OPTIONS;
  options.cell = cell, options.activation = activation, options.recurrent_activation = recurrent_activation;
  options.reset_after = reset_after;
  options.features = 5, options.units = units;
  ostinato_layer *layer = made(&options, with_bias);
  if (layer == NULL) return;
  float *x = drawn(BATCH * TIME * options.features);
  unsigned char mask[BATCH * TIME];
  for (int i = 0; i < BATCH * TIME; ++i) mask[i] = (unsigned char)((i % 4 != 3) * 2); /* any number but 0 is true */

  Call whole = call_of(layer, &options, x, masked ? mask : NULL);
  run(&whole);
  expect(whole.status == OSTINATO_OK, ostinato_error());
  Call pieces = call_of(layer, &options, x, masked ? mask : NULL);
  run_in_pieces(&pieces);
  float largest = 0;
  for (int64_t i = 0; i < BATCH * TIME * units; ++i) {
    const float difference = whole.y[i] > pieces.y[i] ? whole.y[i] - pieces.y[i] : pieces.y[i] - whole.y[i];
    if (!(difference <= largest)) largest = difference;
  }
  expect(largest < 1e-5f, "steps of their own give what a whole sequence gives");

  Call calls[CALLERS];
  pthread_t threads[CALLERS];
  for (int i = 0; i < CALLERS; ++i) {
    calls[i] = call_of(layer, &options, x, masked ? mask : NULL);
    pthread_create(&threads[i], NULL, run, &calls[i]);
  }
  for (int i = 0; i < CALLERS; ++i) {
    pthread_join(threads[i], NULL);
    expect(calls[i].status == OSTINATO_OK && same(&calls[i], &whole), "threads that share a layer get equal results");
    free_call(&calls[i]);
  }
  free_call(&whole), free_call(&pieces), free(x);
  ostinato_destroy(layer);
}

/* Token ids give what one-hot inputs give; ids under the mask are not read. */
static void check_ids(const char *cell, int reset_after, int64_t batch) {
  enum { SYMBOLS = 7, STEPS = 6, UNITS = 19, MOST = 8 };
  ostinato_options options = OSTINATO_OPTIONS;
  options.cell = cell, options.reset_after = reset_after, options.features = SYMBOLS, options.units = UNITS;
  ostinato_layer *layer = made(&options, 1);
  if (layer == NULL) return;
  float *x = floats(batch * STEPS * SYMBOLS), *y[2], *state[2][2];
  int32_t ids[MOST * STEPS];
  unsigned char mask[MOST * STEPS];
  for (int i = 0; i < batch * STEPS; ++i) {
    ids[i] = i * 5 % SYMBOLS, mask[i] = i % 5 != 3;
    x[i * SYMBOLS + ids[i]] = 1;
    if (!mask[i]) ids[i] = -1;
  }
  for (int way = 0; way < 2; ++way) {
    y[way] = floats(batch * STEPS * UNITS);
    for (int i = 0; i < 2; ++i) state[way][i] = floats(batch * UNITS);
    const ostinato_status status = way == 0 ? ostinato_forward(layer, batch, STEPS, x, mask, state[way], y[way])
                                            : ostinato_forward_ids(layer, batch, STEPS, ids, mask, state[way], y[way]);
    expect(status == OSTINATO_OK, ostinato_error());
  }
  float *begun = floats(batch * STEPS * UNITS);
  expect(ostinato_forward(layer, batch, STEPS, x, mask, NULL, begun) == OSTINATO_OK, ostinato_error());
  expect(!memcmp(begun, y[0], (size_t)(batch * STEPS * UNITS) * sizeof(float)), "without a state sequences begin with zeros");
  free(begun);
  for (int64_t i = 0; i < batch * STEPS * UNITS; ++i)
    expect(y[0][i] - y[1][i] < 1e-6f && y[1][i] - y[0][i] < 1e-6f, "ids give what one-hot inputs give");
  for (int way = 0; way < 2; ++way) free(y[way]), free(state[way][0]), free(state[way][1]);
  free(x);
  ostinato_destroy(layer);
}

static void refused(ostinato_status status, const char *why) {
  expect(status == OSTINATO_INVALID_ARGUMENT, why);
  if (strcmp(ostinato_error(), why)) ++failures, printf("said: %s\ninstead of: %s\n", ostinato_error(), why);
}

#define NAMES "tanh, relu, linear, sigmoid, hard_sigmoid, keras2_hard_sigmoid, softsign, elu, selu, silu"

static void check_refusals(void) {
  float weights[64] = {0};
  ostinato_options options = OSTINATO_OPTIONS;
  ostinato_layer *layer = (ostinato_layer *)weights;
  refused(ostinato_create(&options, weights, weights, NULL, &layer), "features must be at least 1, got 0");
  expect(layer == NULL, "a refused layer is NULL");
  options.features = 2;
  refused(ostinato_create(&options, weights, weights, NULL, &layer), "units must be at least 1, got 0");
  options.units = 2, options.cell = "gnu";
  refused(ostinato_create(&options, weights, weights, NULL, &layer), "cell must be one of rnn, gru, lstm, got 'gnu'");
  options.cell = NULL;
  refused(ostinato_create(&options, weights, weights, NULL, &layer), "cell must be one of rnn, gru, lstm, got NULL");
  options.cell = "rnn", options.activation = "gelu";
  refused(ostinato_create(&options, weights, weights, NULL, &layer), "activation must be one of " NAMES ", got 'gelu'");
  options.activation = "relu", options.recurrent_activation = NULL;
  refused(ostinato_create(&options, weights, weights, NULL, &layer), "recurrent_activation must be one of " NAMES ", got NULL");
  options.recurrent_activation = "sigmoid", --options.size;
  refused(ostinato_create(&options, weights, weights, NULL, &layer), "options.size must be sizeof(ostinato_options), 64, got 63");
  ++options.size;
  refused(ostinato_create(&options, NULL, weights, NULL, &layer), "kernel and recurrent must not be NULL");
  refused(ostinato_create(NULL, weights, weights, NULL, &layer), "options must not be NULL");
  refused(ostinato_create(&options, weights, weights, NULL, NULL), "layer must not be NULL");
  expect(ostinato_create(&options, weights, weights, NULL, &layer) == OSTINATO_OK, ostinato_error());
  float *state[] = {weights}, *none[] = {NULL}, y[64];
  refused(ostinato_forward(layer, 0, 1, weights, NULL, state, y), "batch must be at least 1, got 0");
  refused(ostinato_forward(layer, 1, -1, weights, NULL, state, y), "time must be at least 1, got -1");
  refused(ostinato_forward(layer, 1, 1, NULL, NULL, state, y), "x and y must not be NULL");
  refused(ostinato_forward(layer, 1, 1, weights, NULL, none, y), "state[0] must not be NULL");
  const int32_t ids[] = {0, 2};
  refused(ostinato_forward_ids(layer, 1, 2, ids, NULL, state, y), "ids must be from 0 to 1, got 2");
  refused(ostinato_forward_ids(layer, 1, 2, NULL, NULL, state, y), "ids and y must not be NULL");
  refused(ostinato_forward(NULL, 1, 1, weights, NULL, state, y), "layer must not be NULL");
  refused(ostinato_forward(layer, INT64_MAX / 2, 2, weights, NULL, state, y), "batch and time are too large");
  expect(ostinato_state_count(layer) == 1 && ostinato_state_size(layer, 0) == 2 && ostinato_state_size(layer, 1) == 0,
         "the state of an RNN is one array");
  ostinato_destroy(layer);
  ostinato_destroy(NULL);
}

/* Options as they were before recurrent_activation: an LSTM then took no notice of the activation. */
static void check_first_options(void) {
  float weights[8] = {0.5f, -1, 2, 1, 0.25f, 0.5f, -0.5f, 1}, state[3][2] = {{0}}, y[3];
  for (int old = 0; old < 3; ++old) {
    ostinato_options options = OSTINATO_OPTIONS;
    options.features = options.units = 1, options.activation = old == 2 ? "tanh" : "relu";
    if (old == 1) options.size = offsetof(ostinato_options, recurrent_activation), options.recurrent_activation = NULL;
    ostinato_layer *layer = NULL;
    expect(ostinato_create(&options, weights, weights + 4, NULL, &layer) == OSTINATO_OK, ostinato_error());
    float *given[] = {state[old], state[old] + 1};
    expect(ostinato_forward(layer, 1, 1, weights, NULL, given, y + old) == OSTINATO_OK, ostinato_error());
    ostinato_destroy(layer);
  }
  expect(y[0] != y[1] && y[1] == y[2], "options of the first size mean what they meant");
}

static float *read_floats(int64_t count) {
  float *values = floats(count);
  if (fread(values, sizeof(float), (size_t)count, stdin) != (size_t)count) exit(3);
  return values;
}

static int run_one(char **given) {
  ostinato_options options = OSTINATO_OPTIONS;
  options.cell = given[1], options.activation = given[2], options.recurrent_activation = given[3];
  options.reset_after = atoi(given[4]), options.go_backwards = atoi(given[5]), options.return_sequences = atoi(given[6]);
  options.features = atoi(given[7]), options.units = atoi(given[8]);
  const int64_t bias_size = atoi(given[9]), batch = atoi(given[10]), time = atoi(given[11]);
  const int64_t width = gates_of(options.cell) * options.units;
  float *kernel = read_floats(options.features * width), *recurrent = read_floats(options.units * width);
  float *bias = read_floats(bias_size), *x = read_floats(batch * time * options.features);
  ostinato_layer *layer;
  if (ostinato_create(&options, kernel, recurrent, bias_size ? bias : NULL, &layer) != OSTINATO_OK) return 2;
  float *state[2] = {NULL, NULL};
  for (int i = 0; i < ostinato_state_count(layer); ++i) state[i] = read_floats(batch * options.units);
  unsigned char *mask = malloc((size_t)(batch * time));
  const int masked = atoi(given[12]);
  if (masked && fread(mask, 1, (size_t)(batch * time), stdin) != (size_t)(batch * time)) return 3;
  float *y = floats(batch * time * options.units);
  if (ostinato_forward(layer, batch, time, x, masked ? mask : NULL, state, y) != OSTINATO_OK) return 2;
  fwrite(y, sizeof(float), (size_t)(batch * (options.return_sequences ? time : 1) * options.units), stdout);
  for (int i = 0; i < ostinato_state_count(layer); ++i)
    fwrite(state[i], sizeof(float), (size_t)(batch * options.units), stdout);
  ostinato_destroy(layer);
  free(kernel), free(recurrent), free(bias), free(x), free(mask), free(y), free(state[0]), free(state[1]);
  return 0;
}

int main(int count, char **given) {
  if (count == 13) return run_one(given);
  for (int64_t batch = 1; batch <= 8; batch += 7)
    check_ids("rnn", 1, batch), check_ids("gru", 1, batch), check_ids("gru", 0, batch), check_ids("lstm", 1, batch);
  for (int64_t units = 1; units <= 37; units += 18)
    for (int masked = 0; masked < 2; ++masked) {
      check("rnn", 1, "tanh", "sigmoid", units, masked, masked);
      check("rnn", 1, "silu", "sigmoid", units, !masked, masked);
      check("gru", 1, "tanh", "sigmoid", units, masked, masked);
      check("gru", 1, "elu", "hard_sigmoid", units, masked, masked);
      check("gru", 0, "tanh", "sigmoid", units, !masked, masked);
      check("gru", 0, "softsign", "keras2_hard_sigmoid", units, !masked, masked);
      check("lstm", 1, "tanh", "sigmoid", units, 1, masked);
      check("lstm", 1, "relu", "hard_sigmoid", units, 1, masked);
    }
  check_refusals();
  check_first_options();
  ostinato_set_threads(2);
  expect(ostinato_threads() == 2, "the number of threads can be set");
  printf("%s: %d failures\n", ostinato_instruction_set(), failures);
  return failures != 0;
}
