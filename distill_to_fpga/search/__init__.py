"""`detfm search`: which student, how wide, of which inputs, at which price: many trials, one front."""
