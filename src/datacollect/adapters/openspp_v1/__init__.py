"""OpenSPP up to version 1: an Odoo, spoken to by JSON-RPC."""
