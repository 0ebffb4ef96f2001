"""Testing a network: its steps, windows and views, deferred logits to classes, and folded norms."""
