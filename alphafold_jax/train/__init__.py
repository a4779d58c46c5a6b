# SPDX-License-Identifier: Apache-2.0
"""Training (Suppl. 1.11): many steps of one pure function, over any number of devices.

optimizer   learning rate, clipping, Adam, averaged parameters
step        one step: recycling, the loss, its gradient, the update
sharding    the step over a mesh of devices, or under `jax.pmap`
checkpoints what is saved and restored, and how
validation  structures of whole chains scored during the run
watch       metrics.csv, TensorBoard events, the curves
specs       from an experiment's configuration to the specs of its parts
parameters  into a run, and out of it as an official `.npz`
loop        the run: `alphafold-jax train`
"""
