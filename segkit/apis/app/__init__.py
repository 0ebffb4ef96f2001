"""A page to try a network on (``segkit app``): a picture in, overlay, legend and mask out.

``predicting`` knows limits, predictions and legends, ``guard`` what the server answers to,
``server`` the page itself (gradio, imported when it is built), ``space`` the files of a hub space.
"""
