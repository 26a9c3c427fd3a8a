"""The edge: what every route shares. FastAPI is known here, in `routes.py` files and in `app.py` only."""
