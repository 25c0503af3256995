"""detfm.pretrain: an embedding learnt without labels."""
