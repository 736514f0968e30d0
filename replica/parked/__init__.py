"""What operators do with parked messages: list them, show one, redrive or discard them."""
