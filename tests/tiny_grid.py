"""An experiment of two runs that train in moments."""

YAML = """
title: A tiny grid
question: Does the machinery work?
chapter: 00_quickstart
common:
  data: {name: nested_patches, coarse: big, fine: small, size: 16, options: {classes: 3, children: 2, images: 24}}
  model: {backbone: small_resnet, width: 4, blocks: [1]}
  measure: [accuracy, retrieval]
variants:
  base: {method: {name: base}}
  fine: {method: {name: fine}, use_fine: true}
presets:
  smoke: {hardware: nothing, seeds: [0], train: {epochs: 1, batch_size: 12, lr: 0.05}}
  cpu: {hardware: two cores, seeds: [0, 1], train: {epochs: 2, batch_size: 12, lr: 0.05}}
  paper: {hardware: one GPU, seeds: [0, 1], train: {epochs: 3, batch_size: 12, lr: 0.05}}
"""
