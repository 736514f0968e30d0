"""The pages in Chromium, with both services and the broker real."""
