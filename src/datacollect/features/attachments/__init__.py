"""Attachments: photos and documents of entities. They arrive whole or not at all."""
