"""The bundle: one versioned archive with the firmware of every target, its golden model, its proof and its papers."""
