# SPDX-License-Identifier: Apache-2.0
"""Training (Suppl. 1.11): many steps of one pure function, on any number of devices.

optimizer   learning rate, clipping, Adam, averaged parameters
step        one step: recycling, the loss, its gradient, the update
sharding    the step over a mesh of devices, or under `jax.pmap`
checkpoints the state of a run, saved and restored
validation  whole chains predicted and scored during the run
complex_validation  whole complexes likewise, by DockQ
watch       metrics.csv, TensorBoard events, the log
curves      the same numbers as a picture
specs       the specs of the parts, from an experiment's configuration
parameters  parameters to start from, and a run's parameters as an official `.npz`
loop        the run: `alphafold-jax train`
"""
