// The arithmetic of the network. Every loop is unrolled: one bunch crossing enters per clock.
//
// Arrays are flat and row-major. Result types are wide enough for every value that can occur (intervals over the actual
// constants), so assignments to them lose nothing; only quantize() rounds and saturates.
#ifndef DETFM_@{GUARD}_LAYERS_H
#define DETFM_@{GUARD}_LAYERS_H

#include "ap_fixed.h"
#include "ap_int.h"

namespace @{namespace} {
namespace layers {

// The fixed-point number of type T whose bit pattern is `word`: wiring, no logic.
template <class T> T from_word(long long word) {
#pragma HLS INLINE
  T value;
  value.range(T::width - 1, 0) = ap_int<T::width>(word);
  return value;
}

// y = the low `bits` bits of x per channel, two's complement where `sign` is 1. What a wider port carries above them is
// not read: wiring, no logic.
template <int TOKENS, int CHANNELS, class X, class B, class S>
void low_bits(const X x[TOKENS * CHANNELS], const B bits[CHANNELS], const S sign[CHANNELS], X y[TOKENS * CHANNELS]) {
#pragma HLS INLINE
#pragma HLS ARRAY_PARTITION variable=bits complete
#pragma HLS ARRAY_PARTITION variable=sign complete
  for (int t = 0; t < TOKENS; t++) {
#pragma HLS UNROLL
    for (int c = 0; c < CHANNELS; c++) {
#pragma HLS UNROLL
      const int above = X::width - bits[c];
      ap_uint<X::width> word = x[t * CHANNELS + c].range(X::width - 1, 0);
      word <<= above;
      ap_int<X::width> signed_word = word;
      y[t * CHANNELS + c] = sign[c] ? X(signed_word >> above) : X(word >> above);
    }
  }
}

// y = (x - offset) * 2^shift per channel. The shift moves the binary point; Wide holds the difference before and after.
template <int TOKENS, int CHANNELS, class Wide, class Offset, class X, class O, class S, class Y>
void scale(const X x[TOKENS * CHANNELS], const O offset[CHANNELS], const S shift[CHANNELS], Y y[TOKENS * CHANNELS]) {
#pragma HLS INLINE
#pragma HLS ARRAY_PARTITION variable=offset complete
#pragma HLS ARRAY_PARTITION variable=shift complete
  for (int t = 0; t < TOKENS; t++) {
#pragma HLS UNROLL
    for (int c = 0; c < CHANNELS; c++) {
#pragma HLS UNROLL
      Wide difference = x[t * CHANNELS + c] - from_word<Offset>(offset[c]);
      y[t * CHANNELS + c] = difference << int(shift[c]);
    }
  }
}

// y = x cast to T, which carries the rounding and overflow modes.
template <class T, int SIZE, class X, class Y> void quantize(const X x[SIZE], Y y[SIZE]) {
#pragma HLS INLINE
  for (int i = 0; i < SIZE; i++) {
#pragma HLS UNROLL
    y[i] = T(x[i]);
  }
}

// The same for the COUNT channels listed in `channel`, which share the type T.
template <class T, int TOKENS, int CHANNELS, int COUNT, class X, class C, class Y>
void quantize(const X x[TOKENS * CHANNELS], const C channel[COUNT], Y y[TOKENS * CHANNELS]) {
#pragma HLS INLINE
#pragma HLS ARRAY_PARTITION variable=channel complete
  for (int t = 0; t < TOKENS; t++) {
#pragma HLS UNROLL
    for (int k = 0; k < COUNT; k++) {
#pragma HLS UNROLL
      y[t * CHANNELS + channel[k]] = T(x[t * CHANNELS + channel[k]]);
    }
  }
}

// y = 0 for the channels listed: pruned by the training.
template <int TOKENS, int CHANNELS, int COUNT, class C, class Y>
void prune(const C channel[COUNT], Y y[TOKENS * CHANNELS]) {
#pragma HLS INLINE
#pragma HLS ARRAY_PARTITION variable=channel complete
  for (int t = 0; t < TOKENS; t++) {
#pragma HLS UNROLL
    for (int k = 0; k < COUNT; k++) {
#pragma HLS UNROLL
      y[t * CHANNELS + channel[k]] = 0;
    }
  }
}

// y = x * weight + bias for each token, with shared constants. A partial sum beyond Sum's range wraps and comes back:
// the total fits.
template <int TOKENS, int IN, int OUT, class Weight, class Bias, class Sum, class X, class W, class B, class Y>
void dense(const X x[TOKENS * IN], const W weight[IN * OUT], const B bias[OUT], Y y[TOKENS * OUT]) {
#pragma HLS INLINE
#pragma HLS ARRAY_PARTITION variable=weight complete
#pragma HLS ARRAY_PARTITION variable=bias complete
  for (int t = 0; t < TOKENS; t++) {
#pragma HLS UNROLL
    for (int o = 0; o < OUT; o++) {
#pragma HLS UNROLL
      Sum sum = from_word<Bias>(bias[o]);
      for (int i = 0; i < IN; i++) {
#pragma HLS UNROLL
        if (weight[i * OUT + o] != 0) sum += x[t * IN + i] * from_word<Weight>(weight[i * OUT + o]);
      }
      y[t * OUT + o] = sum;
    }
  }
}

template <int SIZE, class X, class Y> void relu(const X x[SIZE], Y y[SIZE]) {
#pragma HLS INLINE
  for (int i = 0; i < SIZE; i++) {
#pragma HLS UNROLL
    y[i] = x[i] > 0 ? Y(x[i]) : Y(0);
  }
}

template <int SIZE, class A, class B, class Y> void add(const A a[SIZE], const B b[SIZE], Y y[SIZE]) {
#pragma HLS INLINE
  for (int i = 0; i < SIZE; i++) {
#pragma HLS UNROLL
    y[i] = a[i] + b[i];
  }
}

template <int SIZE, class A, class B, class Y> void subtract(const A a[SIZE], const B b[SIZE], Y y[SIZE]) {
#pragma HLS INLINE
  for (int i = 0; i < SIZE; i++) {
#pragma HLS UNROLL
    y[i] = a[i] - b[i];
  }
}

template <int SIZE, class A, class B, class Y> void multiply(const A a[SIZE], const B b[SIZE], Y y[SIZE]) {
#pragma HLS INLINE
  for (int i = 0; i < SIZE; i++) {
#pragma HLS UNROLL
    y[i] = a[i] * b[i];
  }
}

// Over the middle axis of x[OUTER][COUNT][INNER].
template <int OUTER, int COUNT, int INNER, class X, class Y>
void sum(const X x[OUTER * COUNT * INNER], Y y[OUTER * INNER]) {
#pragma HLS INLINE
  for (int o = 0; o < OUTER; o++) {
#pragma HLS UNROLL
    for (int i = 0; i < INNER; i++) {
#pragma HLS UNROLL
      Y total = x[o * COUNT * INNER + i];
      for (int n = 1; n < COUNT; n++) {
#pragma HLS UNROLL
        total += x[(o * COUNT + n) * INNER + i];
      }
      y[o * INNER + i] = total;
    }
  }
}

template <int OUTER, int COUNT, int INNER, class X, class Y>
void maximum(const X x[OUTER * COUNT * INNER], Y y[OUTER * INNER]) {
#pragma HLS INLINE
  for (int o = 0; o < OUTER; o++) {
#pragma HLS UNROLL
    for (int i = 0; i < INNER; i++) {
#pragma HLS UNROLL
      X best = x[o * COUNT * INNER + i];
      for (int n = 1; n < COUNT; n++) {
#pragma HLS UNROLL
        if (x[(o * COUNT + n) * INNER + i] > best) best = x[(o * COUNT + n) * INNER + i];
      }
      y[o * INNER + i] = best;
    }
  }
}

// Index of the largest of each row; the first of equals.
template <int ROWS, int COUNT, class X, class Y> void argmax(const X x[ROWS * COUNT], Y y[ROWS]) {
#pragma HLS INLINE
  for (int r = 0; r < ROWS; r++) {
#pragma HLS UNROLL
    X best = x[r * COUNT];
    Y index = 0;
    for (int n = 1; n < COUNT; n++) {
#pragma HLS UNROLL
      if (x[r * COUNT + n] > best) {
        best = x[r * COUNT + n];
        index = n;
      }
    }
    y[r] = index;
  }
}

// Rows of LENGTH elements of x to rows of y that are STRIDE apart, from OFFSET on.
template <int ROWS, int LENGTH, int STRIDE, int OFFSET, class X, class Y>
void place(const X x[ROWS * LENGTH], Y y[ROWS * STRIDE]) {
#pragma HLS INLINE
  for (int r = 0; r < ROWS; r++) {
#pragma HLS UNROLL
    for (int i = 0; i < LENGTH; i++) {
#pragma HLS UNROLL
      y[r * STRIDE + OFFSET + i] = x[r * LENGTH + i];
    }
  }
}

// Elements START, START + STEP, ... (KEPT of them) of the middle axis of x[OUTER][COUNT][INNER].
template <int OUTER, int COUNT, int INNER, int START, int STEP, int KEPT, class X, class Y>
void slice(const X x[OUTER * COUNT * INNER], Y y[OUTER * KEPT * INNER]) {
#pragma HLS INLINE
  for (int o = 0; o < OUTER; o++) {
#pragma HLS UNROLL
    for (int k = 0; k < KEPT; k++) {
#pragma HLS UNROLL
      for (int i = 0; i < INNER; i++) {
#pragma HLS UNROLL
        y[(o * KEPT + k) * INNER + i] = x[(o * COUNT + START + k * STEP) * INNER + i];
      }
    }
  }
}

// The elements listed.
template <int SIZE, int COUNT, class X, class I, class Y> void take(const X x[SIZE], const I index[COUNT], Y y[COUNT]) {
#pragma HLS INLINE
#pragma HLS ARRAY_PARTITION variable=index complete
  for (int i = 0; i < COUNT; i++) {
#pragma HLS UNROLL
    y[i] = x[index[i]];
  }
}

template <int SIZE, class Threshold, class X, class T, class Y>
void compare(const X x[SIZE], const T threshold[SIZE], Y y[SIZE]) {
#pragma HLS INLINE
#pragma HLS ARRAY_PARTITION variable=threshold complete
  for (int i = 0; i < SIZE; i++) {
#pragma HLS UNROLL
    y[i] = x[i] >= from_word<Threshold>(threshold[i]) ? 1 : 0;
  }
}

template <int SIZE, class C, class A, class B, class Y>
void select(const C choice[SIZE], const A a[SIZE], const B b[SIZE], Y y[SIZE]) {
#pragma HLS INLINE
  for (int i = 0; i < SIZE; i++) {
#pragma HLS UNROLL
    y[i] = choice[i] != 0 ? Y(a[i]) : Y(b[i]);
  }
}

// Element i through row i of the table; `places` are its fractional bits, so that x * 2^places is an integer.
template <int SIZE, int DEPTH, class Wide, class X, class P, class F, class T, class Y>
void look_up(const X x[SIZE], const P places[SIZE], const F first[SIZE], const T entries[SIZE * DEPTH], Y y[SIZE]) {
#pragma HLS INLINE
#pragma HLS ARRAY_PARTITION variable=places complete
#pragma HLS ARRAY_PARTITION variable=first complete
#pragma HLS ARRAY_PARTITION variable=entries block factor=SIZE
  for (int i = 0; i < SIZE; i++) {
#pragma HLS UNROLL
    Wide integer = Wide(x[i]) << int(places[i]);
    y[i] = from_word<Y>(entries[i * DEPTH + integer.to_int() - int(first[i])]);
  }
}

} // namespace layers
} // namespace @{namespace}

#endif
