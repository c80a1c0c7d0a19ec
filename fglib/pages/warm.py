"""What the process that kernels are forked from imports: all that chapters import.

An ordinary kernel takes about three seconds of a processor before its first cell; a forked one takes a third of one.
"""

# ruff: noqa: F401
import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"  # the toys of the chapters are too small for more
os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as in any kernel

import ipykernel.ipkernel
import ipykernel.kernelapp
import matplotlib.pyplot
import scipy.optimize
import sklearn.metrics
import torch._dynamo  # at the first step of an optimizer
import torchvision.models

import fglib.data.sources
import fglib.lab.run
import fglib.pages.chapter
import fglib.pages.claims
import fglib.pages.kernels
import fglib.pages.report

gc.freeze()  # collections in a kernel leave the memory that it shares with this process alone
