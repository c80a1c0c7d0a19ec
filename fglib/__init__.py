"""Fine-grained image representations from coarse labels.

    fglib.losses      losses as pure functions, one file per paper
    fglib.models      trunks, heads, moving averages
    fglib.methods     trunk, heads and loss wired as a paper draws them
    fglib.models.memory      memory bank: one embedding per training image
    fglib.data        levels of labels, named sets, your own folders, augmentation
    fglib.train       fit(): one visible loop
    fglib.retrieval   rankings, Recall@k, mAP, kNN classification
    fglib.measure     what a record holds
    fglib.measure.explain     attention maps and attributions
    fglib.measure.theory      propositions and bounds that can be computed
    fglib.measure.costs       multiply-adds
    fglib.lab.results        run records: load what is recorded, train what is missing
    fglib.pages.claims      the ledger: claims, records, verdicts
    fglib.pages.plots       figures

Importing `fglib` loads none of them.
"""
