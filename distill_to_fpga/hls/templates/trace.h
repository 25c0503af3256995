// TRACE(wire) hands a wire to the test bench where DETFM_TRACE is defined, so that a mismatch can be followed to the
// first operation that differs. In synthesis and in ordinary simulation it is nothing.
#ifndef DETFM_TRACE_H
#define DETFM_TRACE_H

#ifdef DETFM_TRACE
#include "../tb/words.h"
#define TRACE(wire) words::trace(wire)
#else
#define TRACE(wire)
#endif

#endif
