"""What is stored of attachments: each content once per program, counted by how many attachments have it.

Two tables say what is in the store. A row of `attachment_contents` stands for bytes that attachments may have; a row of
`attachment_loose` for bytes that are being written, or are to be deleted. Bytes that no row stands for are nobody's.

- An upload notes what it is going to write, writes it, and in the transaction that makes the attachment turns the one
  row into the other. What a crash leaves is a loose row.
- The collector turns contents that nothing has had for a while into loose rows, and marks loose rows that are old as
  dying, each in a transaction; only then, and outside of one, it deletes their bytes, and at last the row.
- Bytes have a name that is never used again. What is dying is never taken up: an upload that meets it writes anew.
"""
