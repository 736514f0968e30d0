"""The OAuth 2.0 endpoints: tokens for services and for sessions, looked at and taken back."""
