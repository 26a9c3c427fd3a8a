"""Signing in and staying signed in: access tokens, rotating refresh tokens, the guards of all routes."""
