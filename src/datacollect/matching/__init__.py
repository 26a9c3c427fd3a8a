"""Whether two records are of the same person or household, and why: pure, and the same whoever asks.

    forms ──roles──► which field says what ──features──► Features ──keys──► blocking keys (what is compared at all)
                                                            └──scoring──► Score: evidence by evidence, in bits

Nothing here reads a database. The model is that of Fellegi and Sunter: each comparison adds the logarithm of how much more
often it comes out so for two records of one person than for two of different people.
"""
