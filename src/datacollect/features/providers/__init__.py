"""Identity providers: callers that another system vouches for, on sync routes and at sign-in."""
