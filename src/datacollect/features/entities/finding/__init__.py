"""Finding entities: lists with filters, sorting and pages, and the search by criteria."""
