"""The equations of the cells as their papers have them, in NumPy, float64: one row at one step.

A step maps x (features,), the state, a tuple of vectors, and the weights by name to the output and the next
state. They are written from the papers, not from `ostinato.cells`, and slow.
"""

import numpy as np

EPSILON = 1e-5


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softplus(a):
    return np.log1p(np.exp(-np.abs(a))) + np.maximum(a, 0)


def normalised(a):
    return (a - a.mean()) / np.sqrt(((a - a.mean()) ** 2).mean() + EPSILON)


def lstm(x, state, w, options):
    """Gers 2000 (peepholes), Greff 2017 (coupled), Sak 2014 (projection), Ba 2016, Krueger 2017."""
    h, c = state
    units = len(c)
    from_x, from_h = w["kernel"].T @ x, w["recurrent_kernel"].T @ h
    if options.get("layer_norm"):
        from_x, from_h = w["gain_x"] * normalised(from_x), w["gain_h"] * normalised(from_h)
    a = from_x + from_h + w.get("bias", 0)
    names = "fco" if options.get("coupled") else "ifco"
    a = {name: a[at * units : (at + 1) * units] for at, name in enumerate(names)}
    peephole = {name: w.get(f"p_{name}", 0) for name in "ifo"}
    f = sigmoid(a["f"] + peephole["f"] * c)
    i = 1 - f if options.get("coupled") else sigmoid(a["i"] + peephole["i"] * c)
    new = f * c + i * np.tanh(a["c"])
    o = sigmoid(a["o"] + peephole["o"] * new)
    shown = w["gain_c"] * normalised(new) + w["shift_c"] if options.get("layer_norm") else new
    m = o * np.tanh(shown)
    if "projection_kernel" in w:
        m = w["projection_kernel"].T @ m
    keep_h, keep_c = options.get("zoneout", (0, 0))
    h = keep_h * h + (1 - keep_h) * m
    return h, (h, keep_c * c + (1 - keep_c) * new)


def gru(x, state, w, options):
    """Cho 2014 with the reset behind the product; Ba 2016; Krueger 2017."""
    (h,) = state
    units = len(h)
    from_x, from_h = w["kernel"].T @ x, w["recurrent_kernel"].T @ h
    if options.get("layer_norm"):
        from_x, from_h = w["gain_x"] * normalised(from_x), w["gain_h"] * normalised(from_h)
    if "bias" in w:
        from_x, from_h = from_x + w["bias"][0], from_h + w["bias"][1]
    z = sigmoid(from_x[:units] + from_h[:units])
    r = sigmoid(from_x[units : 2 * units] + from_h[units : 2 * units])
    new = z * h + (1 - z) * np.tanh(from_x[2 * units :] + r * from_h[2 * units :])
    keep = options.get("zoneout", (0,))[0]
    h = keep * h + (1 - keep) * new
    return h, (h,)


def rnn(x, state, w, options):
    """Elman 1990; Ba 2016; Krueger 2017."""
    (h,) = state
    from_x, from_h = w["kernel"].T @ x, w["recurrent_kernel"].T @ h
    if options.get("layer_norm"):
        from_x, from_h = w["gain_x"] * normalised(from_x), w["gain_h"] * normalised(from_h)
    keep = options.get("zoneout", (0,))[0]
    h = keep * h + (1 - keep) * np.tanh(from_x + from_h + w.get("bias", 0))
    return h, (h,)


def indrnn(x, state, w, options):
    """Li et al. 2018, equation 2."""
    function = {
        "relu": lambda a: np.maximum(a, 0),
        "tanh": np.tanh,
        "sigmoid": sigmoid,
        "linear": lambda a: a,
    }
    h = function[options.get("activation", "relu")](w["W"].T @ x + w["u"] * state[0] + w.get("b", 0))
    return h, (h,)


def positive(a):
    return np.where(a >= 0, a + 0.5, sigmoid(a))


def mingru(x, state, w, options):
    """Feng et al. 2024, section 3.1; with `positive` appendix B."""
    z, candidate = sigmoid(w["W_z"].T @ x + w.get("b_z", 0)), w["W_h"].T @ x + w.get("b_h", 0)
    if options.get("positive"):
        candidate = positive(candidate)
    h = (1 - z) * state[0] + z * candidate
    return h, (h,)


def minlstm(x, state, w, options):
    """Feng et al. 2024, section 3.2; with `positive` appendix B."""
    f, i = sigmoid(w["W_f"].T @ x + w.get("b_f", 0)), sigmoid(w["W_i"].T @ x + w.get("b_i", 0))
    candidate = w["W_h"].T @ x + w.get("b_h", 0)
    if options.get("positive"):
        candidate = positive(candidate)
    h = f / (f + i) * state[0] + i / (f + i) * candidate
    return h, (h,)


def sru(x, state, w, options):
    """Lei et al. 2018 (EMNLP), equations 1 to 4, with the scale 1 of the highway."""
    (c,) = state
    f = sigmoid(w["W_f"].T @ x + w["v_f"] * c + w.get("b_f", 0))
    r = sigmoid(w["W_r"].T @ x + w["v_r"] * c + w.get("b_r", 0))
    c = f * c + (1 - f) * (w["W"].T @ x)
    highway = w["W_in"].T @ x if "W_in" in w else x
    return r * c + (1 - r) * highway, (c,)


def lru(x, state, w, options):
    """Orvieto et al. 2023, equation 7, in complex numbers."""
    if "W_in" in w:
        x = w["W_in"].T @ x
    decay = np.exp(-np.exp(w["nu"]) + 1j * np.exp(w["theta"]))
    into, out = w["B_re"] + 1j * w["B_im"], w["C_re"] + 1j * w["C_im"]
    s = decay * (state[0] + 1j * state[1]) + np.exp(w["gamma_log"]) * (into.T @ x)
    return (out.T @ s).real + w["D"] * x, (s.real, s.imag)


def rg_lru(x, state, w, options):
    """De et al. 2024, equations 1 to 4, with c = 8 and a = σ(−Λ)."""
    if "W_in" in w:
        x = w["W_in"].T @ x

    def gate(name):
        blocks, side, _ = w[f"W_{name}"].shape
        parts = [w[f"W_{name}"][at].T @ x[at * side : (at + 1) * side] for at in range(blocks)]
        return sigmoid(np.concatenate(parts) + w.get(f"b_{name}", 0))

    a = sigmoid(-w["Lambda"]) ** (8 * gate("a"))
    h = a * state[0] + np.sqrt(1 - a**2) * (gate("x") * x)
    return h, (h,)


def log_forget(a, options):
    """The logarithm of σ, or of the exponential."""
    return a if options.get("forget") == "exp" else -softplus(-a)


def slstm(x, state, w, options):
    """Beck et al. 2024, equations 8 to 17."""
    h, c, n, m = state
    heads, width, _ = w["R_z"].shape

    def sums(gate):
        parts = [w[f"R_{gate}"][at].T @ h[at * width : (at + 1) * width] for at in range(heads)]
        return w[f"W_{gate}"].T @ x + np.concatenate(parts) + w.get(f"b_{gate}", 0)

    i, forgotten = sums("i"), log_forget(sums("f"), options)
    after = np.maximum(forgotten + m, i)
    keep, write = np.exp(forgotten + m - after), np.exp(i - after)
    c, n = keep * c + write * np.tanh(sums("z")), keep * n + write
    h = sigmoid(sums("o")) * c / n
    return h, (h, c, n, after)


def mlstm(x, state, w, options):
    """Beck et al. 2024, equations 19 to 27, in the stabilised form of their appendix."""
    heads = w["w_i"].shape[1]
    width = len(state[1]) // heads
    memory, n, m = state[0].reshape(heads, width, width), state[1].reshape(heads, width), state[2]
    q, k, v = (
        (w[f"W_{name}"].T @ x / scale + w.get(f"b_{name}", 0)).reshape(heads, width)
        for name, scale in (("q", 1), ("k", np.sqrt(width)), ("v", 1))
    )
    i = w["w_i"].T @ x + w.get("b_i", 0)
    forgotten = log_forget(w["w_f"].T @ x + w.get("b_f", 0), options)
    after = np.maximum(forgotten + m, i)
    keep, write = np.exp(forgotten + m - after), np.exp(i - after)
    memory = np.array([keep[a] * memory[a] + write[a] * np.outer(k[a], v[a]) for a in range(heads)])
    n = keep[:, None] * n + write[:, None] * k
    found = [memory[a].T @ q[a] / max(abs(n[a] @ q[a]), np.exp(-after[a])) for a in range(heads)]
    h = sigmoid(w["W_o"].T @ x + w.get("b_o", 0)) * np.concatenate(found)
    return h, (memory.reshape(-1), n.reshape(-1), after)


def gated_delta(x, state, w, options):
    """Yang et al. 2024, equation 10, with the projections of their section 3.4."""
    heads, width = len(w["A"]), len(w["gain"])
    memory = state[0].reshape(heads, width, width)
    silu = lambda a: a * sigmoid(a)  # noqa: E731
    q, k, v = (silu(w[f"W_{name}"].T @ x).reshape(heads, width) for name in "qkv")
    length = lambda a: np.sqrt((a**2).sum(-1, keepdims=True) + 1e-6)  # noqa: E731
    q, k = q / length(q) / np.sqrt(width), k / length(k)
    alpha = np.exp(-np.exp(w["A"]) * softplus(w["W_a"].T @ x + w.get("b_a", 0)))
    beta, found, after = sigmoid(w["W_b"].T @ x), [], []
    for a in range(heads):
        kept = alpha[a] * (np.eye(width) - beta[a] * np.outer(k[a], k[a])) @ memory[a]
        after.append(kept + beta[a] * np.outer(k[a], v[a]))
        o = after[a].T @ q[a]
        found.append(w["gain"] * o / np.sqrt((o**2).mean() + 1e-5))
    return w["W_o"].T @ (np.concatenate(found) * silu(w["W_g"].T @ x)), (np.array(after).reshape(-1),)


def over_time(step, x, state, weights, options):
    """Outputs (batch, time, …) and final states, each (batch, …), of x (batch, time, features)."""
    outputs, after = [], []
    for row in range(len(x)):
        carried, of_row = tuple(part[row] for part in state), []
        for now in x[row]:
            output, carried = step(now, carried, weights, options)
            of_row.append(output)
        outputs.append(of_row)
        after.append(carried)
    return np.array(outputs), [np.array(part) for part in zip(*after, strict=True)]
