"""The computing half of the product: an ordinary PyTorch package that knows no orchestrator, tracker or cloud."""
