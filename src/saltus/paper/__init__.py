"""The paper (arXiv 2606.25010): its set-up, and the numbers to compare with."""
