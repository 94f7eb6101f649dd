"""Training on pixels, with the backbone: end to end on augmented images, and fine-tuning."""
