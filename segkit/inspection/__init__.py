"""Looking at data before training does: what is there, what is wrong, what would cure it.

    config_datasets.py  the datasets a config names, and their files, complete or not
    examine.py          one image and its label -> a record of plain numbers
    summary.py          the records of a split added up
    judgement.py        what the sums mean for this config: errors, warnings, notes
    check_report.py     the same findings as text and as one HTML page with pictures
    layout.py           an unknown folder -> its splits: words.py, files.py, pairing.py, splits.py
    classes.py          stored values -> classes: labels.py, visualization/class_tables.py
    new_config.py       from an unknown folder to a ready config

The layer above datasets and visualization, below the tools. Used by tools/check_dataset.py,
tools/new_dataset.py and tools/browse_dataset.py.
"""
