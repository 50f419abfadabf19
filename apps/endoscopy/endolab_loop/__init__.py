"""The loop with CVAT, around the endoscopy app that MONAI Label ships."""
