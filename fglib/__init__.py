"""Fine-grained image representations from coarse labels.

The library:

    fglib.losses      losses as pure functions, one file per paper
    fglib.models      trunks, heads, attention, memory bank, moving averages
    fglib.methods     trunk, heads and loss wired as a paper draws them
    fglib.data        levels of labels, named sets, your own folders, augmentation
    fglib.retrieval   rankings, Recall@k, mAP, kNN classification
    fglib.measure     what is measured on a trained method: explanations, localization, theory, costs
    fglib.train       fit(): one visible loop

The laboratory, which the library never imports:

    fglib.lab         from an experiment's YAML to run records: load what is recorded, train what is missing
    fglib.pages       chapters, tables, figures, and the ledger of claims
    fglib.cli         the `fglib` command

Importing `fglib` loads none of them.
"""
