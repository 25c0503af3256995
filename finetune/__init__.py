"""detfm.finetune: taggers and regressors from few labels, on a pretrained encoder or from scratch."""
