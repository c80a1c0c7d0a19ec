"""Fine-grained image representations from coarse labels.

    fglib.losses      losses as pure functions, one file per paper
    fglib.models      trunks
    fglib.methods     trunk, heads and loss wired as a paper draws them
    fglib.data        levels of labels, named sets, your own folders, augmentation
    fglib.train       fit(): one visible loop
    fglib.retrieval   rankings, Recall@k, mAP
    fglib.explain     attention maps and attributions
    fglib.theory      propositions and bounds that can be computed
    fglib.costs       multiply-adds
    fglib.runs        run records: load what is recorded, train what is missing
    fglib.claims      the ledger: claims, records, verdicts
    fglib.plots       figures

Importing `fglib` loads none of them.
"""
